"""`reader: celeba-hq`: faces, without classes, in a folder or one archive."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from palette.data.images.pictures import FORMATS
from palette.data.sources.files import folder_of
from palette.data.sources.manifest import Entry
from palette.data.sources.members import expanded, files_in, zip_names
from palette.data.sources.source import FetchStage, Listing, Source
from palette.data.sources.walk import walk
from palette.errors import DataError

IMAGES, TEST = 30_000, 27_000
"""Number of CelebA-HQ's images, and number of the first test image: 27,000 are for training, 3,000 for testing."""
PART_MASKS = "CelebAMask-HQ-mask-anno"
"""Folder of CelebAMask-HQ with 400,000 masks of face parts, `0/00000_hair.png`."""


def list_celeba_hq(stage: FetchStage) -> Listing:
    """List a folder or one archive of images named by their numbers, 0 to 29,999."""
    place = folder_of(stage.spec, stage.results)
    if not place.exists():
        raise DataError(
            f"{place}: no such folder or archive. CelebA-HQ is a folder, a ZIP or a tar of its 30,000 images."
        )
    if place.is_file():
        place = expanded(place, stage.path(""))
    return Listing("celeba-hq", [place.resolve()], _numbered(place, files_in(place)))


def count_faces(place: Path) -> int | None:
    """Return the number of CelebA-HQ's images in a folder or ZIP, else None. Raises DataError as `fetch` does."""
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
            if number >= IMAGES:
                known = f"CelebA-HQ's images have 0 to {IMAGES - 1:,}"
                raise DataError(f"{place}: {file} has the number {number}, and {known}.")
            if (first := owner.setdefault(number, file)) != file:
                raise DataError(
                    f"{place}: {first} and {file} both have the number {number}, so that it is not clear which one is the "
                    "photograph. Name the folder that holds nothing but the 30,000 images."
                )
            yield {**entry, "class": "face", "split": "train" if number < TEST else "test"}


SOURCE = Source(list_celeba_hq, published=True, count=count_faces)
