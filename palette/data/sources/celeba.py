"""`source: celeba` and `source: celeba-hq`: faces, without classes."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from palette.config.datasets import DataFile, Split
from palette.data.images.pictures import FORMATS
from palette.data.sources.files import folder_of, obtain
from palette.data.sources.listing import Listing
from palette.data.sources.manifest import Entry
from palette.data.sources.members import expanded, members, zip_names
from palette.data.sources.splits import read_flist
from palette.data.sources.walk import walk
from palette.errors import DataError

if TYPE_CHECKING:
    from palette.stages.fetch import FetchSpec
    from palette.stages.stage import Stage

PARTITION = {"0": "train", "2": "test"}
"""CelebA's partition numbers → split; 1 is for validation and not used."""
ARCHIVE, PARTS = "img_align_celeba.zip", "list_eval_partition.txt"
UNPACKED, TABLE = "img_align_celeba", "list_eval_partition.csv"
"""Their counterparts in Kaggle's copy: the images in `img_align_celeba/img_align_celeba`, the partition in a table."""
HQ_IMAGES, HQ_TEST = 30_000, 27_000
"""Number of CelebA-HQ's images, and number of the first test image: 27,000 are for training, 3,000 for testing."""
PART_MASKS = "CelebAMask-HQ-mask-anno"
"""Folder of CelebAMask-HQ with 400,000 masks of face parts, `0/00000_hair.png`."""


def needed(files: tuple[DataFile, ...], folder: Path) -> list[DataFile]:
    """Return CelebA's files that nothing in `folder` replaces."""
    instead = {ARCHIVE: (folder / UNPACKED).is_dir(), PARTS: (folder / TABLE).is_file()}
    return [file for file in files if not instead.get(file.file)]


def trees(folder: Path) -> dict[Split | None, Path]:
    """Return the folder of CelebA's unpacked images, of all splits, if it exists."""
    return {None: folder / UNPACKED} if (folder / UNPACKED).is_dir() else {}


def lists(folder: Path) -> list[Path]:
    """Return Kaggle's partition table, if it exists."""
    return [folder / TABLE] if (folder / TABLE).is_file() else []


def list_celeba(stage: "Stage[FetchSpec]") -> Listing:
    """List the aligned images, from their ZIP or unpacked, by the dataset's own splits."""
    known, folder = stage.spec.known, folder_of(stage.spec, stage.results)
    assert known is not None
    files = {file.file: obtain(file, folder, known.by_hand) for file in needed(known.files, folder)}
    parts = dict(_parts(files.get(PARTS, folder / TABLE)))
    place = files.get(ARCHIVE, folder / UNPACKED)
    return Listing("celeba", [place.resolve()], _aligned(_files(place), parts))


def _files(place: Path) -> Iterator[Entry]:
    """Return the files of an archive or a folder."""
    return members(place) if place.is_file() else ({"file": file} for file in walk(place))


def _parts(file: Path) -> Iterator[tuple[str, str]]:
    for line in read_flist(file):
        name, _, part = line.strip().partition("," if file.name == TABLE else " ")
        if line == "image_id,partition":
            continue
        if part not in ("0", "1", "2"):
            raise DataError(f"{file}: has the line {line!r}; expected a picture's name and 0, 1 or 2. Get it again.")
        yield name, part


def _aligned(found: Iterable[Entry], parts: dict[str, str]) -> Iterator[Entry]:
    places = dict[str, str]()
    for entry in found:
        name = Path(entry["file"]).name
        if name not in parts:
            yield {"file": entry["file"], "reason": "not in CelebA's list of parts"}
        elif (first := places.setdefault(name, entry["file"])) != entry["file"]:
            raise DataError(f"CelebA's picture {name} is there twice: {first} and {entry['file']}. Remove one of them.")
        elif parts[name] in PARTITION:
            yield {**entry, "class": "face", "split": PARTITION[parts[name]]}


def list_celeba_hq(stage: "Stage[FetchSpec]") -> Listing:
    """List a folder or one archive of images named by their numbers, 0 to 29,999."""
    place = folder_of(stage.spec, stage.results)
    if not place.exists():
        raise DataError(
            f"{place}: no such folder or archive. CelebA-HQ is a folder, a ZIP or a tar of its 30,000 images."
        )
    if place.is_file():
        place = expanded(place, stage.path(""))
    return Listing("celeba-hq", [place.resolve()], _numbered(place, _files(place)))


def count_faces(place: Path) -> int | None:
    """Return the number of CelebA-HQ's images in a folder or ZIP; None for anything else.

    Raises DataError as `fetch` does.
    """
    if not place.exists():
        return None
    names = walk(place) if place.is_dir() else zip_names(place)
    if names is None:
        return None
    return sum("split" in entry for entry in _numbered(place, ({"file": name} for name in names)))


def _numbered(place: Path, found: Iterable[Entry]) -> Iterator[Entry]:
    """Yield the files of a folder or archive; CelebA-HQ's images have their split.

    Part masks are skipped. Raises DataError for a number outside CelebA-HQ's range, or one that two images share.
    """
    owner = dict[int, str]()
    for entry in found:
        file = entry["file"]
        if PART_MASKS in file.split("/"):
            continue
        ending = re.search(r"\d+$", Path(file).stem)
        if "reason" in entry:
            yield entry
        elif ending is None or not file.lower().endswith(FORMATS):
            yield {"file": file, "reason": "not a picture named by its number"}
        else:
            number = int(ending[0])
            _refuse_number(place, number, owner.setdefault(number, file), file)
            yield {**entry, "class": "face", "split": "train" if number < HQ_TEST else "test"}


def _refuse_number(place: Path, number: int, first: str, file: str) -> None:
    if number >= HQ_IMAGES:
        raise DataError(f"{place}: {file} has the number {number}, and CelebA-HQ's images have 0 to {HQ_IMAGES - 1:,}.")
    if first != file:
        raise DataError(
            f"{place}: {first} and {file} both have the number {number}, so that it is not clear which one is the photograph. "
            "Name the folder that holds nothing but the 30,000 images."
        )
