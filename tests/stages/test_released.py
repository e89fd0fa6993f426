"""A released model in place of a training: checked to the byte, refused if it does not match."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from palette.config import Config
from palette.errors import DataError
from palette.planning.plan import Plan
from palette.stages import released, sample
from palette.stages.released import ReleasedRuntime, ReleasedSpec
from palette.system.files import read_json, sha256
from tests.stages.test_train import train
from tests.tiny import SIZE, prepared, sample_spec, stage, train_spec


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model.json` of a trained model."""
    one = stage(prepared(tmp_path_factory.mktemp("trained")), train_spec(steps=2, mix={"colorization": 1.0}))
    train.run(one)
    return one.path("model.json")


@pytest.fixture(scope="module")
def address(model: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=model.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def spec(card: str, model: Path, **changes: Any) -> ReleasedSpec:
    options = {"name": "m", "sha256": sha256(model), "image_size": SIZE, "objective": "edm"}
    return ReleasedSpec.model_validate({**options, "runtime": ReleasedRuntime(card=card), **changes})


def test_from_a_path_and_from_an_address(model: Path, address: str, tmp_path: Path) -> None:
    for place in (str(model), f"{address}/model.json"):
        one = stage(tmp_path / place[:4].strip("/"), spec(place, model))
        released.run(one)
        for name in ("model.json", "model.safetensors"):
            assert one.path(name).read_bytes() == model.with_name(name).read_bytes()
        assert read_json(one.path("card.json"))["released"] == place


def test_its_location_changes_no_hash(model: Path) -> None:
    assert spec("/a/model.json", model).hash == spec("https://b.org/model.json", model).hash
    assert spec("/a/model.json", model).hash != spec("/a/model.json", model, sha256="0" * 64).hash


def test_it_is_sampled_like_a_trained_model(model: Path, tmp_path: Path) -> None:
    results = prepared(tmp_path)
    given = spec(str(model), model)
    released.run(stage(results, given))
    images = []
    for folder, parent in ((results, given.folder), (model.parents[2], f"train/{model.parent.name}")):
        one = stage(folder, sample_spec(train_spec(), parents={"prepare": "prepare/tiny", "train": parent}))
        sample.run(one, 0)
        images.append(one.path("shard-000.zip").read_bytes())
    assert images[0] == images[1]


def test_a_task_that_the_model_never_saw_is_refused(model: Path, tmp_path: Path) -> None:
    given = spec(str(model), model)
    results = prepared(tmp_path)
    released.run(stage(results, given))
    parents = {"prepare": "prepare/tiny", "train": given.folder, "mask": "mask/tiny"}
    one = stage(results, sample_spec(train_spec(), parents=parents, degradation="inpainting"))
    with pytest.raises(DataError, match="a model of colorization; it has never seen inpainting"):
        sample.run(one, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "not the released file"),
        ({"image_size": 64}, "a model for 16 pixels, and the dataset has 64"),
        ({"objective": "regression"}, "objective of this model is edm, and the config says regression"),
    ],
)
def test_a_model_that_differs_from_the_config(
    model: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    one = stage(tmp_path, spec(str(model), model, **changes))
    with pytest.raises(DataError, match=message):
        released.run(one)
    assert not one.path("card.json").exists()
    assert not one.path("model.safetensors").exists()


def test_weights_that_differ_from_the_card(model: Path, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(model.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(DataError, match=r"model.safetensors: not the released file"):
        released.run(stage(tmp_path / "results", spec(str(tmp_path / "model.json"), model)))


def test_nan_weights(model: Path, tmp_path: Path) -> None:
    weights = load_file(model.with_name("model.safetensors"))
    weights["first.weight"][0] = float("nan")
    save_file(weights, tmp_path / "model.safetensors")
    facts = read_json(model) | {"sha256": sha256(tmp_path / "model.safetensors")}
    card = tmp_path / "model.json"
    card.write_text(json.dumps(facts))
    with pytest.raises(DataError, match=r"NaN or infinite values in first\.weight"):
        released.run(stage(tmp_path / "results", spec(str(card), card)))


@pytest.mark.parametrize("content", [{}, [], {"image_size": SIZE, "objective": None}])
def test_a_card_that_describes_no_model(content: Any, tmp_path: Path) -> None:
    card = tmp_path / "model.json"
    card.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"not the model\.json of a model"):
        released.run(stage(tmp_path / "results", spec(str(card), card)))


def test_missing_files(model: Path, address: str, tmp_path: Path) -> None:
    for place in (str(tmp_path / "no.json"), f"{address}/no.json"):
        with pytest.raises(DataError, match="cannot be read"):
            released.run(stage(tmp_path / "results", spec(place, model)))


def test_the_plan_trains_nothing() -> None:
    entry = {"released": {"card": "https://example.org/model.json", "sha256": "0" * 64}}
    config: dict[str, Any] = {
        "datasets": {"photos": {}},
        "tasks": {"jpeg": {"degradation": "jpeg"}, "color": {"degradation": "colorization"}},
        "models": {"palette": entry},
        "samplers": {"dpm": {}},
        "experiments": [{"dataset": "photos", "task": ["jpeg", "color"], "model": "palette", "sampler": "dpm"}],
    }
    plan = Plan(Config.model_validate(config))
    (only,) = plan.of_kind("released")
    assert not plan.of_kind("train")
    assert {s.parents["train"] for s in plan.of_kind("sample")} == {only.folder}
    assert "training.svg" not in plan.report.figures
