"""`source: celeba` and `source: celeba-hq`: faces, without classes."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from palette.data.archives import expanded, members
from palette.data.folders import walk
from palette.data.manifest import Entry
from palette.data.pictures import FORMATS
from palette.data.sources.files import folder_of, obtain_all
from palette.data.sources.listing import Listing
from palette.data.sources.splits import read_flist
from palette.errors import DataError
from palette.spec.stages import FetchSpec
from palette.stage import Stage

PARTITION = {"0": "train", "2": "test"}
"""CelebA's numbers of its own parts; 1 is for validation and not used."""
HQ_TEST = 27_000
"""Number of the first of CelebA-HQ's test images: 27,000 before it and 3,000 from it on."""


def list_celeba(stage: Stage[FetchSpec]) -> Listing:
    """The aligned pictures in their ZIP, by the dataset's own parts."""
    paths = obtain_all(stage)
    archive, partition = paths["img_align_celeba.zip"], paths["list_eval_partition.txt"]
    parts = dict(_parts(partition))
    return Listing("celeba", [archive.resolve()], _aligned(members(archive), parts))


def _parts(file: Path) -> Iterator[tuple[str, str]]:
    for line in read_flist(file):
        name, _, part = line.strip().partition(" ")
        if part not in ("0", "1", "2"):
            raise DataError(f"{file}: has the line {line!r}; expected a picture's name and 0, 1 or 2. Get it again.")
        yield name, part


def _aligned(found: Iterable[Entry], parts: dict[str, str]) -> Iterator[Entry]:
    for entry in found:
        part = parts.get(Path(entry["file"]).name)
        if part is None:
            yield {"file": entry["file"], "reason": "not in list_eval_partition.txt"}
        elif part in PARTITION:
            yield {**entry, "class": "face", "split": PARTITION[part]}


def list_celeba_hq(stage: Stage[FetchSpec]) -> Listing:
    """A folder or one archive of pictures named by their numbers, 0 to 29,999."""
    place = folder_of(stage.spec, stage.results)
    if place.is_file():
        path = expanded(place, stage.path(""))
        return Listing("celeba-hq", [path.resolve()], _numbered(members(path)))
    if not place.is_dir():
        raise DataError(
            f"{place}: no such folder or archive. CelebA-HQ is a folder, a ZIP or a tar of its 30,000 images."
        )
    return Listing("celeba-hq", [place.resolve()], _numbered({"file": file} for file in walk(place)))


def _numbered(found: Iterable[Entry]) -> Iterator[Entry]:
    for entry in found:
        number = re.search(r"(\d+)\D*$", Path(entry["file"]).stem)
        if "reason" in entry:
            yield entry
        elif number is None or not entry["file"].lower().endswith(FORMATS):
            yield {"file": entry["file"], "reason": "not a picture named by its number"}
        else:
            yield {**entry, "class": "face", "split": "train" if int(number[1]) < HQ_TEST else "test"}
