"""`palette sample`: the same image for a test item, whatever the batch and the shard; known pixels untouched."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from palette.config.models import Objective
from palette.config.sampling import Sampler
from palette.data.store.store import ImageStore, write_store
from palette.diffusion.samplers import SAMPLERS
from palette.errors import ConfigError, DataError
from palette.stages import sample, train
from palette.stages.sample import SampleSpec
from tests.tiny import half, named, pictures, prepared, sample_spec, stage, train_spec

INPAINTING = {"degradation": "inpainting"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with two trained models."""
    folder = prepared(tmp_path_factory.mktemp("results"))
    for kind in ("edm", "regression"):
        train.run(stage(folder, train_spec(objective=Objective(kind=kind))))
    return folder


def model(kind: str = "edm") -> str:
    return train_spec(objective=Objective(kind=kind)).folder


def parents(kind: str = "edm", mask: bool = False) -> dict[str, str]:
    return {"prepare": "prepare/tiny", "train": model(kind), **({"mask": "mask/tiny"} if mask else {})}


def sampled(results: Path, spec: SampleSpec) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Name → image over all shards: first draws, further draws."""
    found: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = ({}, {})
    for shard in range(-(-spec.count // spec.shard_size)):
        one = stage(results, spec)
        sample.run(one, shard)
        for images, name in zip(found, (f"shard-{shard:03}.zip", f"draws-{shard:03}.zip"), strict=True):
            with ImageStore(one.path(name)) as store:
                images.update({store.names[i]: store[i] for i in range(len(store))})
    return found


def test_names_draws_and_cards(results: Path) -> None:
    spec = sample_spec(train_spec())
    first, further = sampled(results, spec)
    assert list(first) == [f"{i:08}.png" for i in range(6)]
    assert list(further) == [f"{i:08}-{draw}.png" for i in range(2) for draw in (1, 2)]
    assert not np.array_equal(first["00000000.png"], further["00000000-1.png"])
    assert not np.array_equal(further["00000000-1.png"], further["00000000-2.png"])
    card = json.loads(stage(results, spec).path("shard-001.json").read_text())
    assert set(card["artifacts"]) == {"shard-001.zip", "draws-001.zip"}
    assert card["images"] == 2
    with ImageStore(stage(results, spec).path("shard-001.zip")) as store:
        assert store.labels == [0, 1]
        assert store.manifest[0]["index"] == 4


@pytest.mark.parametrize("kind", sorted(SAMPLERS))
def test_batch_and_shard_change_no_image(results: Path, kind: str) -> None:
    """Shards: not one byte. Batches: up to the rounding of a float that falls between two of the 255 steps."""
    runs = {}
    for batch_size, shard_size in ((4, 2), (4, 6), (1, 6), (7, 6)):
        spec = sample_spec(
            train_spec(),
            parents=parents(mask=True),
            sampler=Sampler(kind=kind, steps=3),
            batch_size=batch_size,
            shard_size=shard_size,
            **INPAINTING,
        )
        first, further = sampled(results, spec)
        runs[batch_size, shard_size] = {**first, **further}
    expected = runs.pop((4, 2))
    for (batch_size, _), images in runs.items():
        assert images.keys() == expected.keys()
        tolerance = 0 if batch_size == 4 else 1
        for name, image in expected.items():
            assert np.abs(image.astype(int) - images[name]).max() <= tolerance, name


def test_known_pixels_are_the_originals(results: Path) -> None:
    found = sampled(results, sample_spec(train_spec(), parents=parents(mask=True), **INPAINTING))[0]
    for image, original in zip(found.values(), pictures(6, seed=1), strict=True):
        np.testing.assert_array_equal(image[~half()], original[~half()])
        assert not np.array_equal(image[half()], original[half()])


def test_the_reference_does_not_reach_the_sample(results: Path, tmp_path: Path) -> None:
    """Other pixels under the hole give the same restored image."""
    spec = sample_spec(train_spec(), parents=parents(mask=True), **INPAINTING)
    before = sampled(results, spec)[0]
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    changed = [np.where(half()[:, :, None], np.uint8(7), image) for image in pictures(6, seed=1)]
    write_store(copy / "prepare/tiny/test.zip", named(changed), ["even", "odd"])
    after = sampled(copy, spec)[0]
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_the_seed_decides_the_sample(results: Path) -> None:
    first = sampled(results, sample_spec(train_spec()))[0]
    assert all(np.array_equal(first[n], i) for n, i in sampled(results, sample_spec(train_spec()))[0].items())
    other = sampled(results, sample_spec(train_spec(), seed=1))[0]
    assert not any(np.array_equal(first[name], other[name]) for name in first)


def test_the_sampler_chooses_an_average(results: Path) -> None:
    spec = train_spec(steps=3, ema_widths=(0.0, 0.05, 0.1))
    one = stage(results, spec)
    train.run(one)
    kept = load_file(one.path("averages.safetensors"))
    for width in (0.0, 0.05, 0.07):
        chosen = sample_spec(spec, sampler=Sampler(steps=3, ema_width=width))
        weights = sample.load(stage(results, chosen)).network.state_dict()["first.weight"]
        low, high = kept["0.05/first.weight"], kept["0.1/first.weight"]
        if width == 0.07:
            share = ((weights - low) / (high - low)).nanmedian()  # nan where both are alike
            assert 0 < share < 1
            torch.testing.assert_close(weights, torch.lerp(low, high, share), rtol=0, atol=1e-5)
        else:
            assert torch.equal(weights, kept[f"{width}/first.weight"])
    with pytest.raises(ConfigError, match=r"ema_width 0\.05: the training kept none"):
        sample.load(stage(results, sample_spec(train_spec(), sampler=Sampler(ema_width=0.05))))


def test_regression_has_one_draw(results: Path) -> None:
    spec = sample_spec(train_spec(), parents=parents("regression"), sampler=None)
    first, further = sampled(results, spec)
    assert len(first) == 6
    assert further == {}


def test_the_degraded_input_needs_no_torch(results: Path) -> None:
    spec = sample_spec(train_spec(), parents={"prepare": "prepare/tiny"}, baseline="input", sampler=None, name="input")
    one = stage(results, spec)
    code = (
        "import sys; from pathlib import Path; from palette.stages.stage import Stage; from palette.stages import sample\n"
        "sample.run(Stage.read(Path(sys.argv[1])), 0); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(one.path("spec.yaml"))], check=True, capture_output=True)
    with ImageStore(one.path("shard-000.zip")) as store:
        assert np.ptp(store[0].astype(int), axis=2).max() == 0  # gray
        assert len(store) == 4


def test_weights_that_differ_from_the_card_are_refused(results: Path, tmp_path: Path) -> None:
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    weights = copy / model() / "model.safetensors"
    changed = load_file(weights)
    changed["first.bias"] += 1
    save_file(changed, weights)
    with pytest.raises(DataError, match="not the file that its card describes"):
        sample.run(stage(copy, sample_spec(train_spec())), 0)


def test_fewer_test_images_than_planned(results: Path) -> None:
    with pytest.raises(DataError, match="6 images, but the plan counts 9"):
        sample.run(stage(results, sample_spec(train_spec(), count=9)), 0)
