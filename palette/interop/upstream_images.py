"""Training and test images of the unofficial code's JSON configs."""

from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path
from typing import Any

from palette.data.images.pictures import FORMATS
from palette.data.sources.walk import walk
from palette.interop.converted import Converted
from palette.interop.upstream_json import IMAGE_SIZE, Upstream

TRAIN, TEST = "datasets.train", "datasets.test"
MOST_TESTS = 256
"""Maximum number of images held out for testing if the JSON has no test images."""


@dataclass(frozen=True)
class Images:
    """Dataset made from the images."""

    fetch: dict[str, Any]
    """Options of `fetch`."""
    side: int
    train: int | None
    tests: int | None
    """Number of training and of test images; None if unknown."""

    def prepare(self) -> dict[str, int]:
        """Return the options of `prepare`."""
        counts = (
            {} if self.train is None or self.tests is None else {"train_images": self.train, "test_images": self.tests}
        )
        return {"image_size": self.side, **counts}


@dataclass(frozen=True)
class Place:
    """Location of one phase's images: a folder, and the files in it that a list names, if there is a list."""

    folder: Path
    listed: list[str] | None = None
    list: Path | None = None
    """Path of the list, if its lines are paths."""


def images_of(source: Upstream, result: Converted) -> Images:
    """Return the images of both phases.

    The JSON's own split is kept if both parts exist; else the training images are split anew.
    """
    train, test = _place(source, TRAIN, result), _place(source, TEST, result)
    side = _side(source, result)
    if (split := _as_split(train, test)) is None:
        return _split_anew(train, test, side, _number(source, TRAIN), result)
    fetch, trains, tests = split
    return Images(
        fetch, side, min(_number(source, TRAIN) or trains, trains), min(_number(source, TEST) or tests, tests)
    )


def _number(source: Upstream, phase: str) -> int | None:
    """Return the number of images that the JSON requests; None: all."""
    number = source.get(f"{phase}.which_dataset.args.data_len", int, -1)
    return number if number > 0 else None


def _as_split(train: Place, test: Place) -> tuple[dict[str, Any], int, int] | None:
    """Return `fetch` options that keep the training and test images as they are, and their numbers.

    The split is of two lists, or of two folders in one folder. None if there are not two, if they do not exist or
    overlap, or if there are fewer than two test images.
    """
    if train.list and test.list and train.listed and test.listed:
        if set(train.listed) & set(test.listed) or len(test.listed) < 2:
            return None
        absolute = all(Path(line).is_absolute() for line in (*train.listed, *test.listed))
        splits = {"train": str(train.list.absolute()), "test": str(test.list.absolute())}
        # Paths in lists are relative to the folder where the unofficial code is started.
        options = {"source": "folder"} | ({} if absolute else {"path": str(Path.cwd())}) | {"splits": splits}
        return options, len(train.listed), len(test.listed)
    siblings = train.folder.parent == test.folder.parent and train.folder != test.folder
    if train.listed is None and test.listed is None and siblings:
        counts = _count(train.folder), _count(test.folder)
        if counts[0] and counts[1] > 1:
            splits = {"train": train.folder.name, "test": test.folder.name}
            return {"source": "folder", "path": str(train.folder.parent), "splits": splits}, *counts
    return None


def _split_anew(train: Place, test: Place, side: int, wanted: int | None, result: Converted) -> Images:
    """Split the images of the training folder into training and test images."""
    fetch, count = {"source": "folder", "path": str(train.folder)}, _count(train.folder)
    if not count:
        result.not_honored.append(
            f"{TRAIN}: no images in {train.folder} now, so `train_images` and `test_images` are not set. Set them, and `path`."
        )
        return Images(fetch, side, None, None)
    same = test.folder == train.folder and test.listed is not None
    held_out = len(test.listed) if same and test.listed else min(MOST_TESTS, count // 10)
    held_out = max(2, min(held_out, count // 2))
    most = len(train.listed) if train.listed else count
    number = min(wanted or count, most, count - held_out)
    if test.folder != train.folder:
        result.not_honored.append(
            f"{TEST}: {test.folder} is not read; {held_out} images of {train.folder} are held out for testing instead."
        )
    if train.listed is not None or same:
        result.not_honored.append(
            f"{TRAIN}: of the {count} images in {train.folder}, {number} for training and {held_out} for testing are drawn by "
            "`prepare.seed`, not by the lists."
        )
    return Images(fetch, side, max(number, 1), held_out)


def _count(folder: Path) -> int:
    return sum(name.lower().endswith(FORMATS) for name in walk(folder)) if folder.is_dir() else 0


def _place(source: Upstream, phase: str, result: Converted) -> Place:
    arguments = f"{phase}.which_dataset.args"
    root = Path(source.get(f"{arguments}.data_root", str, "."))
    source.pass_over(f"{phase}.which_dataset.name")
    if source.has(f"{arguments}.data_flist"):  # colorization: numbers of files in two folders
        numbers = _lines(Path(source.get(f"{arguments}.data_flist", str, "")))
        if phase == TRAIN:
            result.not_honored.append(
                f"{phase}.which_dataset: {root}/gray is not read; the gray image is computed from the color (Rec. 601 luma). If it "
                "holds anything else, use `fetch: {source: pairs}` and the task `paired`."
            )
        return Place(root / "color", numbers)
    if root.is_dir() or not (root.suffix or root.is_file()):
        return Place(root)
    files = _lines(root)
    if not files:
        if phase == TRAIN:
            result.not_honored.append(
                f"{arguments}.data_root: the list {root} cannot be read now; `path` is its folder. Set it."
            )
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


def _side(source: Upstream, result: Converted) -> int:
    sides = source.get(IMAGE_SIZE, list, [source.image_size])
    side = source.image_size
    squashed = f"the middle square becomes {side}×{side}; there, the whole image is squashed"
    result.not_honored.append(f"{IMAGE_SIZE}: {squashed}{'' if len(set(sides)) == 1 else f' to {sides}'}.")
    source.pass_over(f"{TEST}.which_dataset.args.image_size")
    return side
