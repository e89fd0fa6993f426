"""The stages extractor, features and score, one after the other as the workflow runs them."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cleanfid import fid
from cleanfid.inception_torchscript import InceptionV3W
from PIL import Image

from palette.data.store import ImageStore
from palette.errors import ConfigError, DataError
from palette.files import read_json
from palette.scoring.features import load_network, measure, save_arrays
from palette.spec import Runtime
from palette.verbs import extractor, features, score
from tests.scoring.conftest import TESTS, extractor_spec, features_spec, score_spec, stage_of


@pytest.fixture(scope="module")
def photos(results: Path) -> str:
    """Folder of the trained classifier."""
    spec = extractor_spec()
    extractor.run(stage_of(spec, results))
    return spec.folder


def features_of(results: Path, photos: str, sample: str | None, shard_size: int = TESTS) -> str:
    spec = features_spec(photos, sample, shard_size)
    stage = stage_of(spec, results)
    for shard in range(-(-TESTS // shard_size)):
        features.run(stage, shard)
    return spec.folder


def test_the_classifier_is_described(results: Path, photos: str) -> None:
    facts = read_json(results / photos / "extractor.json")
    assert facts["kind"] == "photos"
    assert facts["classes"] == ["red", "blue"]
    assert facts["dimensions"] == 32
    assert facts["test_accuracy"] > 0.9
    assert set(read_json(results / photos / "card.json")["artifacts"]) == {"extractor.json", "classifier.safetensors"}


def test_shards_gather_to_the_same_scores_as_one_pass(results: Path, photos: str) -> None:
    scored = []
    for size in (TESTS, 20):
        own, reference = (features_of(results, photos, sample, size) for sample in (f"sample/noisy-{size}", None))
        spec = score_spec(own, reference, size)
        score.run(stage_of(spec, results))
        scored.append(read_json(results / spec.folder / "scores.json")["scores"])
    whole, gathered = scored
    assert whole.keys() == gathered.keys()
    for name, entry in whole.items():
        assert gathered[name]["value"] == pytest.approx(entry["value"], rel=1e-9, abs=1e-12)


def test_noise_moves_the_features_away(results: Path, photos: str) -> None:
    reference = features_of(results, photos, None)
    values = {}
    for name, own in (("noisy", features_of(results, photos, f"sample/noisy-{TESTS}")), ("originals", reference)):
        spec = score_spec(own, reference)
        score.run(stage_of(spec, results))
        values[name] = read_json(results / spec.folder / "scores.json")["scores"]
    assert values["originals"]["fd-photos"]["value"] == pytest.approx(0, abs=1e-9)
    assert values["originals"]["psnr"]["value"] is None
    assert values["originals"]["pd-photos"]["value"] == 0
    assert values["noisy"]["fd-photos"]["value"] > 0.01
    assert 20 < values["noisy"]["psnr"]["value"] < 30


def test_everything_but_the_card_repeats_to_the_byte(results: Path, photos: str) -> None:
    spec = features_spec(photos, f"sample/noisy-{TESTS}")
    stage = stage_of(spec, results)
    digests = []
    for _ in range(2):
        features.run(stage, 0)
        scoring = stage_of(score_spec(spec.folder, spec.folder), results)
        score.run(scoring)
        files = [stage.path("shard-000.npz"), scoring.path("scores.json")]
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert digests[0] == digests[1]


def test_saved_arrays_carry_no_date(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        save_arrays(tmp_path / name, {"x": np.arange(3)})
    content = (tmp_path / "a.npz").read_bytes()
    assert content == (tmp_path / "b.npz").read_bytes()
    assert content[10:14] == b"\x00\x00\x21\x00"  # the ZIP format's 1980-01-01 00:00


def test_samples_of_other_test_images_are_refused(results: Path, photos: str) -> None:
    spec = features_spec(photos, "sample/noisy-20", shard_size=TESTS)
    with pytest.raises(DataError, match="does not hold test images 0 to 49"):
        features.run(stage_of(spec, results), 0)


def test_a_damaged_shard_is_refused(results: Path, photos: str, tmp_path: Path) -> None:
    for name in ("own", "reference"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "shard-000.npz").write_bytes(b"PK damaged")
    with pytest.raises(DataError, match="damaged"):
        score.run(stage_of(score_spec("own", "reference"), tmp_path))


def test_changed_weights_are_refused(results: Path, photos: str, tmp_path: Path) -> None:
    description = json.loads((results / photos / "extractor.json").read_text())
    (tmp_path / "classifier.safetensors").write_bytes(b"other")
    with pytest.raises(DataError, match="not the weights"):
        load_network(tmp_path, description, None, torch.device("cpu"))


# ----------------------------------------------------------------------------------------------- inception


class Layers(torch.nn.Module):
    """2048 numbers from the colors of a 2 x 2 grid: as the Inception network's interface, small."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(12, 2048)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))


class Standin(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = Layers()
        self.output = torch.nn.Linear(2048, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.layers(x))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the name and interface of the Inception network."""
    path = tmp_path_factory.mktemp("weights") / "inception-2015-12-05.pt"
    torch.manual_seed(0)
    torch.jit.script(Standin()).save(str(path))
    return path


def test_inception_features_are_those_of_clean_fid(results: Path, weights: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    spec = extractor_spec(extractor="inception", photos=None, sha256=digest, runtime=Runtime(weights=weights))
    extractor.run(stage_of(spec, results))
    network = load_network(
        results / spec.folder, read_json(results / spec.folder / "extractor.json"), weights, torch.device("cpu")
    )
    with ImageStore(results / "prepare/tiny/test.zip") as tests:
        images = [tests[index] for index in range(5)]
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    files = [str(tmp_path / f"{index}.png") for index in range(5)]
    model = InceptionV3W(str(weights.parent), download=False, resize_inside=False)
    cpu = torch.device("cpu")
    expected = fid.get_files_features(
        files, model, num_workers=0, batch_size=5, device=cpu, mode="clean", verbose=False
    )
    arrays = measure([features.Pair(image, image, 0) for image in images], network)
    np.testing.assert_allclose(arrays["features"], expected, rtol=1e-5, atol=1e-5)
    assert "correct" not in arrays
    np.testing.assert_allclose(arrays["probabilities"].sum(1), 1, rtol=1e-5)


def test_missing_inception_weights_are_explained(results: Path) -> None:
    with pytest.raises(ConfigError, match=r"inception-2015-12-05\.pt"):
        extractor.run(stage_of(extractor_spec(extractor="inception", photos=None), results))


def test_wrong_inception_weights_are_refused(results: Path, weights: Path) -> None:
    spec = extractor_spec(extractor="inception", photos=None, runtime=Runtime(weights=weights))
    with pytest.raises(DataError, match="not the known file"):
        extractor.run(stage_of(spec, results))
