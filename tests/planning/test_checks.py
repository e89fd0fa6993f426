"""Config checks about data: each accepts a valid config, and names field, value and remedy for an invalid one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from palette.data.masks.supplied import digest
from palette.errors import ConfigError, DataError
from palette.running.start import plan_of

CONFIG = """\
datasets:
  own:
    fetch: {source: folder, path: OWN}
    prepare: {image_size: 16, train_images: 4, test_images: 2}
tasks:
  holes: {degradation: inpainting}
models:
  palette:
    network: {multipliers: [1, 2]}
samplers:
  dpm: {steps: 4}
experiments:
  - {dataset: own, task: holes, model: palette, sampler: dpm}
score: {extractors: [pixels]}
"""
Problems = Callable[..., list[str]]


@pytest.fixture
def problems(tmp_path: Path) -> Problems:
    """A function (texts to replace in `CONFIG`, by what) → what a plan has against the config, a line each."""
    (tmp_path / "own").mkdir()
    (tmp_path / "conditions").mkdir()
    for number in range(6):
        for folder in ("own", "conditions"):
            Image.new("RGB", (20, 20), (number, 0, 0)).save(tmp_path / folder / f"{number}.png")

    def run(*changes: tuple[str, str]) -> list[str]:
        text = CONFIG
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        text = text.replace("OWN", f"{tmp_path}/own").replace("TMP", str(tmp_path))
        file = tmp_path / "config.yaml"
        file.write_text(text)
        assert yaml.safe_load(text)
        try:
            plan_of([file])
        except ConfigError as error:
            heading, *lines = str(error).replace(f"{file}:", "").splitlines()
            return lines or [heading]
        return []

    return run


def test_the_unchanged_config_passes(problems: Problems) -> None:
    assert problems() == []


# -------------------------------------------------------------------------------------------------------- crops

PHOTOS = ("{source: folder, path: OWN}", "{source: photos}")
PAIRS = ("{source: folder, path: OWN}", "{source: pairs, path: OWN, conditions: TMP/conditions}")


@pytest.mark.parametrize(
    ("source", "option", "says"),
    [
        (PHOTOS, "crop: random", "random has no meaning with `source: photos`, whose images are random squares"),
        (PHOTOS, "test_crop: unscaled", "unscaled has no meaning with `source: photos`"),
        (PHOTOS, "train_images: null", "null has no meaning with `source: photos`"),
        (
            PAIRS,
            "crop: unscaled",
            "unscaled has no meaning with `source: pairs`, which cuts the middle squares of both",
        ),
        (PAIRS, "test_crop: unscaled", "unscaled has no meaning with `source: pairs`"),
    ],
)
def test_meaningless_crops(problems: Problems, source: tuple[str, str], option: str, says: str) -> None:
    field = option.partition(":")[0]
    old = "train_images: 4" if field == "train_images" else "test_images: 2"
    new = option if field == "train_images" else f"test_images: 2, {option}"
    (line,) = problems(source, (old, new))
    assert line.strip().startswith(f"4: datasets.own.prepare.{field}: {says}")
    assert line.endswith("Leave it out.")


@pytest.mark.parametrize("option", ["crop: random", "crop: unscaled", "test_crop: unscaled"])
def test_crops_of_a_folder(problems: Problems, option: str) -> None:
    assert problems(("test_images: 2", f"test_images: 2, {option}")) == []


def test_the_default_crop_of_photos_and_pairs_may_be_stated(problems: Problems) -> None:
    centre = ("test_images: 2", "test_images: 2, crop: centre, test_crop: centre")
    assert problems(PHOTOS, centre) == []
    assert problems(PAIRS, centre) == []


# ----------------------------------------------------------------------------------------------- lists, trainings


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("0\n1\n2\n", ""),
        ("0\n", "has 1 names, but `test_images` is 2. Lower `test_images`."),
        ("0\n0\n", "0 is listed twice. Each test image counts once: remove one line."),
    ],
)
def test_lists_of_test_images(problems: Problems, tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "names.txt").write_text(content)
    found = problems(("test_images: 2", "test_images: 2, test_list: TMP/names.txt"))
    expected = f"  4: datasets.own.prepare.test_list: {tmp_path}/names.txt: {says}"
    assert found == ([expected] if says else [])


@pytest.mark.parametrize("source", [None, PAIRS])
def test_a_folder_with_too_few_pictures(problems: Problems, tmp_path: Path, source: tuple[str, str] | None) -> None:
    changes = [source] if source else []
    (tmp_path / "own/README.txt").touch()
    (line,) = problems(*changes, ("train_images: 4", "train_images: 5"))
    assert line.strip() == (
        f"4: datasets.own.prepare: 6 pictures are in {tmp_path}/own, but 5 to train on and 2 to test on are asked for. "
        "Lower `train_images` (null: all that remain) or `test_images`."
    )
    assert problems(*changes, ("train_images: 4", "train_images: null")) == []


NONE = ("train_images: 4", "train_images: 0")


def test_a_training_without_images(problems: Problems) -> None:
    (line,) = problems(NONE)
    assert line.strip().startswith("13: experiments.0.dataset: model 'palette' is trained on dataset 'own', which has")
    assert "`train_images: 0`. Give it some, or name another dataset in models.palette.train_on." in line


def test_a_dataset_that_is_only_tested_on_needs_no_training_images(problems: Problems) -> None:
    other = "datasets:\n  photos: {prepare: {image_size: 16, train_images: 4, test_images: 2}}"
    learns = ("  palette:\n", "  palette:\n    train_on: photos\n")
    assert problems(NONE, ("datasets:", other), learns) == []
    assert problems(NONE, ("model: palette, sampler: dpm", "model: input")) == []


def test_a_released_model_needs_no_training_images(problems: Problems, tmp_path: Path) -> None:
    released = f"    released: {{card: {tmp_path}/model.json, sha256: {'a' * 64}}}\n"
    assert problems(NONE, ("  palette:\n", f"  palette:\n{released}")) == []


def test_an_extractor_without_training_images(problems: Problems) -> None:
    photos = ("{source: folder, path: OWN}", "{source: photos}")
    row, score = ("model: palette, sampler: dpm", "model: input"), ("[pixels]", "[photos]")
    says = "datasets.own.prepare.train_images: 0, but the extractor `photos` learns from them. Raise it, or drop"
    assert problems(photos, NONE, row, score)[0].startswith(says)


def test_missing_references_and_conditions(problems: Problems) -> None:
    (line,) = problems(("tasks:\n", "    reference: ones\ntasks:\n"))
    assert line.strip() == "5: datasets.own.reference: no dataset is called 'ones'. Did you mean 'own'?"
    (line,) = problems(("degradation: inpainting", "degradation: paired"))
    assert line.strip().endswith(
        "experiments.0.dataset: task 'holes' (`paired`) needs a dataset with `source: pairs`, and 'own' is `folder`."
    )


# -------------------------------------------------------------------------------------------------------- masks


def test_missing_masks(problems: Problems, tmp_path: Path) -> None:
    masks = ("degradation: inpainting", "degradation: inpainting, masks: TMP/masks")
    (line,) = problems(masks)
    assert line.strip() == (
        f"6: tasks.holes.masks: no file or folder {tmp_path}/masks. Correct the path, or leave `masks` out: then they are drawn."
    )
    (tmp_path / "masks").mkdir()
    for number in range(2):
        Image.new("1", (16, 16), number).save(tmp_path / f"masks/{number}.png")
    assert problems(masks) == []
    (tmp_path / "masks/1.png").unlink()
    assert "has 1 PNGs, and dataset 'own' has 2 test images" in problems(masks)[0]


def test_assignment_of_masks(problems: Problems, tmp_path: Path) -> None:
    by = "degradation: inpainting, masks_by: position"
    assert "`masks_by` goes with `masks`" in problems(("degradation: inpainting", by))[0]
    (tmp_path / "masks.npz").touch()
    packed = f"{by}, mask: free-form-10-20, masks: TMP/masks.npz"
    assert "those in" in problems(("degradation: inpainting", packed))[0]
    (line,) = problems(("degradation: inpainting", "degradation: inpainting, masks: TMP/masks.npz"))
    assert "tasks.holes.mask: missing." in line
    (tmp_path / "masks/more").mkdir(parents=True)
    for number in range(2):
        Image.new("1", (16, 16), number).save(tmp_path / f"masks/more/{number}.png")
    (line,) = problems(("degradation: inpainting", f"{by}, masks: TMP/masks"))
    assert "has 0 PNGs" in line  # by position only those that lie in the folder itself


def test_masks_that_are_not_pngs(tmp_path: Path) -> None:
    """JPEG puts gray between black and white; the plan says so, not a job."""
    (tmp_path / "masks").mkdir()
    Image.new("L", (16, 16)).save(tmp_path / "masks/0.jpg")
    with pytest.raises(DataError, match=r"masks: has no PNGs, only \.jpg \(`masks` of a task\)\. Save the masks as"):
        digest(tmp_path / "masks")
