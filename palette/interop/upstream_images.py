"""Training and test images of the unofficial code's JSON configs."""

from collections.abc import Mapping
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path
from typing import Any

from palette.data.images.pictures import FORMATS
from palette.data.sources.walk import walk
from palette.interop.upstream_json import IMAGE_SIZE, Upstream

TRAIN, TEST = "datasets.train", "datasets.test"
MOST_TESTS = 256
"""Maximum number of images held out for testing if the JSON has no test images."""

Dataset = Mapping[str, dict[str, Any]]
"""Options of `fetch` and `prepare`."""


@dataclass(frozen=True)
class Place:
    """Location of one phase's images: a folder, and the files in it that a list names, if there is a list."""

    folder: Path
    files: list[str] | None = None
    list_file: Path | None = None
    """Path of the list, if its lines are paths."""


def dataset_of(source: Upstream) -> Dataset:
    """Return the dataset of both phases' images, without their numbers if these are unknown.

    The JSON's own split is kept if both parts exist; else the training images are split anew.
    """
    train, test = _place(source, TRAIN), _place(source, TEST)
    side = source.image_size
    sides = source.get(IMAGE_SIZE, list, [side])
    there = "the whole image is squashed" if len(set(sides)) == 1 else f"the whole image is squashed to {sides}"
    source.differs(f"{IMAGE_SIZE}: the middle square becomes {side}×{side}; there, {there}.")
    source.skip(f"{TEST}.which_dataset.args.image_size")
    fetch, counts = _same_split(source, train, test) or _new_split(source, train, test)
    return {"fetch": fetch, "prepare": {"image_size": side, **counts}}


def _number(source: Upstream, phase: str, most: int) -> int:
    """Return the number of images that the JSON requests, at most `most`; if it requests none, `most`."""
    number = source.get(f"{phase}.which_dataset.args.data_len", int, -1)
    return min(number, most) if number > 0 else most


def _same_split(source: Upstream, train: Place, test: Place) -> tuple[dict[str, Any], dict[str, int]] | None:
    """Return options of `fetch` and numbers of images that keep the split, by two lists or two folders in one folder.

    None if there are not two, if they do not exist or overlap, or if there are fewer than two test images.
    """
    if train.list_file and test.list_file and train.files and test.files:
        if not set(train.files).isdisjoint(test.files):
            return None
        counts = len(train.files), len(test.files)
        splits = {"train": str(train.list_file.absolute()), "test": str(test.list_file.absolute())}
        absolute = all(Path(file).is_absolute() for file in (*train.files, *test.files))
        # Paths in lists are relative to the folder where the unofficial code is started.
        path = {} if absolute else {"path": str(Path.cwd())}
    elif (
        train.files is None
        and test.files is None
        and train.folder != test.folder
        and train.folder.parent == test.folder.parent
    ):
        counts = _count(train.folder), _count(test.folder)
        splits = {"train": train.folder.name, "test": test.folder.name}
        path = {"path": str(train.folder.parent)}
    else:
        return None
    if not counts[0] or counts[1] < 2:
        return None
    numbers = {"train_images": _number(source, TRAIN, counts[0]), "test_images": _number(source, TEST, counts[1])}
    return {"source": "folder", **path, "splits": splits}, numbers


def _new_split(source: Upstream, train: Place, test: Place) -> tuple[dict[str, Any], dict[str, int]]:
    """Split the images of the training folder into training and test images."""
    fetch, count = {"source": "folder", "path": str(train.folder)}, _count(train.folder)
    if not count:
        source.differs(
            f"{TRAIN}: no images in {train.folder} now, so `train_images` and `test_images` are not set. Set them, and `path`."
        )
        return fetch, {}
    tests = len(test.files or ()) if test.folder == train.folder else 0
    tests = max(2, min(tests or MOST_TESTS, tests or count // 10, count // 2))
    trains = min(_number(source, TRAIN, len(train.files or ()) or count), count - tests)
    if test.folder != train.folder:
        source.differs(
            f"{TEST}: {test.folder} is not read; {tests} images of {train.folder} are held out for testing instead."
        )
    if train.files is not None or (test.folder == train.folder and test.files is not None):
        source.differs(
            f"{TRAIN}: of the {count} images in {train.folder}, {trains} for training and {tests} for testing are drawn by "
            "`prepare.seed`, not by the lists."
        )
    return fetch, {"train_images": max(trains, 1), "test_images": tests}


def _count(folder: Path) -> int:
    return sum(name.lower().endswith(FORMATS) for name in walk(folder)) if folder.is_dir() else 0


def _place(source: Upstream, phase: str) -> Place:
    arguments = f"{phase}.which_dataset.args"
    root = Path(source.get(f"{arguments}.data_root", str, "."))
    source.skip(f"{phase}.which_dataset.name")
    if numbers := source.get(f"{arguments}.data_flist", str, ""):  # colorization: numbers of files in two folders
        if phase == TRAIN:
            source.differs(
                f"{phase}.which_dataset: {root}/gray is not read; the gray image is computed from the color (Rec. 601 luma). If it "
                "holds anything else, use `fetch: {source: pairs}` and the task `paired`."
            )
        return Place(root / "color", _lines(Path(numbers)))
    if root.is_dir() or not (root.suffix or root.is_file()):
        return Place(root)
    files = _lines(root)
    if not files:
        if phase == TRAIN:
            source.differs(f"{arguments}.data_root: the list {root} cannot be read now; `path` is its folder. Set it.")
        return Place(root.parent)
    folders = [Path(file).parent for file in files]
    if len({folder.is_absolute() for folder in folders}) > 1:
        folders = [folder.absolute() for folder in folders]
    return Place(Path(commonpath(folders)), files, root)


def _lines(file: Path) -> list[str] | None:
    """Return the non-empty lines of a list of files; None if it is missing or not text."""
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        return None
