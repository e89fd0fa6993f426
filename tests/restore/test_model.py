"""`palette.load` and `Model.restore`, with random weights."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from safetensors.torch import save_file

import palette
from palette.config.sampling import Sampler
from palette.errors import ConfigError, DataError
from palette.restore import model as module
from palette.restore.canvas import Request
from tests.restore.models import TASKS, weights, write_model
from tests.tiny import NETWORK, train_spec

Pixels = npt.NDArray[np.uint8]
FAST = {"steps": 2}


def options_for(task: str, photo: Pixels) -> dict[str, Any]:
    mask = np.zeros(photo.shape[:2], np.bool_)
    mask[photo.shape[0] // 2 :] = True
    return {**FAST, "mask": mask} if task == "inpainting" else FAST


def arrays(images: list[Image.Image]) -> list[Pixels]:
    return [np.asarray(image) for image in images]


# ------------------------------------------------------------------------------------------------- loading


def test_importing_palette_is_cheap() -> None:
    code = "import palette, sys; assert 'torch' not in sys.modules; palette.load; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        palette.laod  # type: ignore[attr-defined]  # noqa: B018


def test_folder_and_file_are_the_same_model(folder: Path, model: palette.Model, photo: Pixels) -> None:
    again = palette.load(str(folder / "model.safetensors"), device="cpu")
    assert again.tasks == model.tasks == TASKS
    assert again.image_size == 16
    first, second = (arrays(m.restore(photo, "jpeg", **FAST)) for m in (model, again))
    np.testing.assert_array_equal(first, second)


def test_the_file_alone_describes_the_model(tmp_path: Path, model: palette.Model, photo: Pixels) -> None:
    lone = tmp_path / "renamed.safetensors"
    save_file(weights(NETWORK), lone, {"spec": train_spec().model_dump_json(exclude={"runtime"})})
    loaded = palette.load(lone)
    assert loaded.tasks == ("colorization", "inpainting")
    expected = model.restore(photo, "colorization", **FAST)
    np.testing.assert_array_equal(arrays(loaded.restore(photo, "colorization", **FAST)), arrays(expected))


@pytest.mark.parametrize("path", [None, 5, [], b"model"])
def test_values_that_are_not_paths(path: Any) -> None:
    with pytest.raises(ConfigError, match=r"should be a path, a model's folder or its model\.safetensors"):
        palette.load(path)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", 1.5])
def test_values_that_are_not_devices(folder: Path, device: Any) -> None:
    with pytest.raises(ConfigError, match=f"device {device!r}: .*Choose `cpu`, `cuda`, or `cuda:1`"):
        palette.load(folder, device)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"samples": "3"}, "samples '3': should be a whole number, 1 or more"),
        ({"samples": True}, "samples True: should be a whole number"),
        ({"seed": None}, "seed None: should be a whole number, 0 or more"),
        ({"seed": -1}, "seed -1: should be a whole number, 0 or more"),
        ({"batch": 1.5}, "batch 1.5: should be a whole number, 1 or more"),
        ({"factor": "4", "task": "super-resolution"}, "factor '4': should be a whole number"),
        ({"extend": [], "task": "uncropping"}, r"extend \[\]: should be one of"),
        ({"task": []}, r"task \[\]: not one that this model was trained on"),
        ({"filter": []}, r"filter \[\]: should be one of"),
        ({"factor": 2.5, "task": "super-resolution"}, "factor 2.5: should be a whole number from 2 to 16"),
        ({"size": "big"}, "size 'big': should be a number of pixels"),
        ({"size": True}, "size True: should be a number of pixels"),
        ({"filter": []}, r"filter \[\]: should be one of lanczos"),
        ({"value_range": "0-4095"}, "range '0-4095': should be two numbers"),
        ({"value_range": (0,)}, r"range \(0,\): should be two numbers"),
        ({"value_range": 4095}, "range 4095: should be two numbers"),
        ({"steps": "many"}, "steps 'many': a sampler is one of"),
        ({"sampler": 5}, "sampler 5: a sampler is one of"),
    ],
)
def test_arguments_of_the_wrong_type(model: palette.Model, photo: Pixels, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        model.restore(photo, **{"task": "jpeg"} | options)


@pytest.mark.parametrize("photo", [None, 5, [[1], [1, 2]], {}])
def test_values_that_are_not_photos(model: palette.Model, photo: Any) -> None:
    with pytest.raises(DataError, match="photo: "):
        model.restore(photo, "jpeg")


def test_files_that_are_not_models(folder: Path, tmp_path: Path) -> None:
    def damaged(name: str, change: Any) -> Path:
        copy = tmp_path / name
        shutil.copytree(folder, copy)
        change(copy)
        return copy

    def other_network(copy: Path) -> None:
        facts = json.loads((copy / "model.json").read_text())
        facts["network"]["channels"] = 16
        (copy / "model.json").write_text(json.dumps(facts))

    for path, says in (
        (tmp_path / "nowhere", "no such file"),
        (damaged("no-facts", lambda c: (c / "model.json").unlink()), "does not say what network"),
        (damaged("half", lambda c: (c / "model.safetensors").write_bytes(b"12345678")), "not a readable safetensors"),
        (damaged("empty", lambda c: (c / "model.json").write_text("{}")), "does not fit at network"),
        (damaged("other", other_network), "does not fit the network"),
    ):
        with pytest.raises(DataError, match=says) as error:
            palette.load(path)
        assert len(str(error.value)) < 1000


def test_nan_weights_are_refused(folder: Path, tmp_path: Path, photo: Pixels) -> None:
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    broken = weights(NETWORK)
    broken["first.weight"][0, 0, 0, 0] = float("inf")
    save_file({f"0.05/{name}": tensor for name, tensor in broken.items()}, copy / "averages.safetensors")
    with pytest.raises(DataError, match=r"averages\.safetensors: NaN or infinite values in first\.weight\. "):
        palette.load(copy).restore(photo, "jpeg", sampler=Sampler(steps=1, ema_width=0.05))
    save_file(broken, copy / "model.safetensors")
    with pytest.raises(DataError, match=r"model\.safetensors: NaN or infinite values in first\.weight\. "):
        palette.load(copy)


# --------------------------------------------------------------------------------------------- restoring


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (16, 16), (33, 21)])
@pytest.mark.parametrize("task", TASKS)
def test_every_task_accepts_every_shape(model: palette.Model, task: str, shape: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    if task == "inpainting" and shape == (1, 1):
        return  # no mask of one pixel makes sense
    (image,) = model.restore(photo, task, **options_for(task, photo))
    assert image.mode == "RGB"
    if task == "super-resolution":
        assert image.size == (4 * shape[1], 4 * shape[0])
    else:
        assert min(image.size) == 16
    if task not in ("super-resolution", "uncropping"):
        (same,) = model.restore(photo, task, size="full", **options_for(task, photo))
        assert same.size == shape[::-1]


@pytest.mark.parametrize("context", ["local-attention", "dilated", "more-blocks"])
def test_every_context_accepts_every_shape(tmp_path: Path, context: str, photo: Pixels) -> None:
    changed = NETWORK.model_copy(update={"context": context})
    at_work = palette.load(write_model(tmp_path, network=changed))
    assert at_work.restore(photo, "jpeg", size="full", **FAST)[0].size == (21, 33)


def test_known_pixels_stay(model: palette.Model, photo: Pixels) -> None:
    mask = options_for("inpainting", photo)["mask"]
    for image in arrays(model.restore(photo, "inpainting", samples=2, mask=mask, size="full", **FAST)):
        np.testing.assert_array_equal(image[~mask], photo[~mask])
        assert not np.array_equal(image[mask], photo[mask])
    (extended,) = arrays(model.restore(photo, "uncropping", extend="left", size="full", **FAST))
    np.testing.assert_array_equal(extended[:, 21:], photo)


def test_what_a_mask_hides_changes_nothing(model: palette.Model, photo: Pixels) -> None:
    options = options_for("inpainting", photo)
    other = np.where(options["mask"][:, :, None], np.uint8(7), photo)
    first, second = (arrays(model.restore(p, "inpainting", size="full", **options)) for p in (photo, other))
    np.testing.assert_array_equal(first, second)


def test_a_sample_depends_on_seed_photo_and_number_only(model: palette.Model, photo: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    many = arrays(model.restore(photo, "jpeg", samples=5, **FAST))
    assert len({image.tobytes() for image in many}) == 5
    few = arrays(model.restore(path, "jpeg", samples=2, batch=1, **FAST))
    for one, other in zip(few, many, strict=False):  # the sums of another batch are rounded otherwise
        assert np.abs(one.astype(int) - other).max() <= 1
    again = arrays(model.restore(Image.open(path), "jpeg", samples=5, **FAST))
    np.testing.assert_array_equal(many, again)
    seeded = arrays(model.restore(photo, "jpeg", samples=5, seed=1, **FAST))
    assert not any(np.array_equal(one, other) for one, other in zip(many, seeded, strict=True))


def test_large_photos_come_one_at_a_time(model: palette.Model) -> None:
    def batches(side: int, **options: Any) -> list[int]:
        sizes: list[int] = []
        ready = model.canvas(np.zeros((side, side, 3), np.uint8), Request("jpeg", "full"))
        list(model.draw(ready, 5, 0, Sampler(steps=1), watch=lambda _, y, x0: sizes.append(len(y)), **options))
        return sizes

    assert batches(16) == [5]
    assert batches(32) == [2, 2, 1]
    assert batches(80) == [1] * 5
    assert batches(16, batch=3) == [3, 2]


def test_requests_that_cannot_fit_are_refused_in_advance(
    model: palette.Model, photo: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (free := module.free_memory()) is None or free > 2**20
    monkeypatch.setattr(module, "free_memory", lambda: 10_000)
    with pytest.raises(DataError, match=r"1 at a time of 22×34 pixels do not fit into the memory of cpu"):
        model.restore(photo, "jpeg", size="full", batch=1, **FAST)


@pytest.mark.parametrize("patch", [1, 2])
def test_the_required_memory_is_that_of_ten_feature_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patch: int
) -> None:
    network = NETWORK.model_copy(update={"patch_size": patch, "attention": ()})
    at_work, photo = palette.load(write_model(tmp_path, network=network)), np.zeros((16, 16, 3), np.uint8)
    needed = 10 * 3 * (16 // patch) ** 2 * 8 * 4  # three samples of float32, eight channels
    monkeypatch.setattr(module, "free_memory", lambda: needed)
    assert len(at_work.restore(photo, "jpeg", samples=3, steps=1)) == 3
    monkeypatch.setattr(module, "free_memory", lambda: needed - 1)
    with pytest.raises(DataError, match="3 at a time of 16×16 pixels do not fit"):
        at_work.restore(photo, "jpeg", samples=3, steps=1)


def test_sampler_by_name_and_by_options(model: palette.Model, photo: Pixels) -> None:
    (named,) = arrays(model.restore(photo, "jpeg", sampler="dpm++2m-sde", steps=3))
    (given,) = arrays(model.restore(photo, "jpeg", sampler=Sampler(kind="dpm++2m-sde", steps=3)))
    (default,) = arrays(model.restore(photo, "jpeg", steps=3))
    np.testing.assert_array_equal(named, given)
    assert not np.array_equal(named, default)


def test_an_average_of_another_width(folder: Path, tmp_path: Path, photo: Pixels) -> None:
    sampler = Sampler(steps=2, ema_width=0.05)
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    at_work = palette.load(copy)
    with pytest.raises(DataError, match=r"averages\.safetensors: missing"):
        at_work.restore(photo, "jpeg", sampler=sampler)
    other = weights(NETWORK, seed=1)
    save_file({f"0.05/{name}": tensor for name, tensor in other.items()}, copy / "averages.safetensors")
    (image,) = arrays(at_work.restore(photo, "jpeg", sampler=sampler))
    save_file(other, copy / "model.safetensors")
    (expected,) = arrays(palette.load(copy).restore(photo, "jpeg", **FAST))
    np.testing.assert_array_equal(image, expected)


def test_a_regression_has_one_sample(tmp_path: Path, photo: Pixels) -> None:
    at_work = palette.load(write_model(tmp_path, ("jpeg",), "regression"))
    assert not at_work.stochastic
    first, second = (arrays(at_work.restore(photo, samples=4, seed=seed)) for seed in (0, 1))
    assert len(first) == 1
    np.testing.assert_array_equal(first, second)
    with pytest.raises(ConfigError, match=r"no meaning for .*, a regression"):
        at_work.restore(photo, sampler="ddim")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"task": "colouring"}, "task 'colouring': not one .* colorization, inpainting, jpeg"),
        ({}, "task: missing"),
        ({"task": "jpeg", "sampler": "euler"}, "one of ancestral, ddim, .*, heun"),
        ({"task": "jpeg", "steps": 0}, "a number from 1 to 10000"),
        ({"task": "jpeg", "sampler": Sampler(), "steps": 5}, "beside a Sampler"),
        ({"task": "jpeg", "samples": 0}, "samples 0"),
        ({"task": "jpeg", "batch": 0}, "batch 0"),
    ],
)
def test_unsupported_tasks_and_options(model: palette.Model, photo: Pixels, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        model.restore(photo, **options)


def test_a_warm_start_has_no_task(tmp_path: Path, photo: Pixels) -> None:
    with pytest.raises(ConfigError, match="none: it is a start for a training"):
        palette.load(write_model(tmp_path, ())).restore(photo)
