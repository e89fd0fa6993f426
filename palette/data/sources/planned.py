"""What the plan has to know of a dataset before anything is fetched: whether its files changed, its classes, what is missing."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from palette.config.datasets import DataFile, Fetch, KnownDataset
from palette.data.folders import pairs, walk
from palette.data.manifest import Manifest
from palette.data.photos import PHOTOS
from palette.data.pictures import FORMATS
from palette.data.sources import imagenet, places
from palette.data.sources.files import Missing, folder_of, missing_files
from palette.data.sources.splits import list_file, read_flist
from palette.errors import ConfigError, DataError
from palette.spec.stages import FetchSpec

NEEDED: Mapping[str, Callable[[tuple[DataFile, ...], Path], list[DataFile]]] = {
    "imagenet": imagenet.needed,
    "places365": places.needed,
}
"""Reader → which of a dataset's files nothing else in their folder stands in for; the others need them all."""
UNPACKED = {
    "imagenet": tuple(imagenet.FOLDERS.values()),
    "places365": tuple(name for names in places.UNPACKED.values() for name in names),
}
"""Reader → folders that archives may be unpacked to."""


def missing(spec: FetchSpec, results: Path) -> list[Missing]:
    """What a user has to get by hand before a published dataset can be fetched."""
    if spec.known is None:
        return []
    folder = folder_of(spec, results)
    return list(missing_files(spec.name, spec.known, folder, needed(spec.known, folder)))


def needed(known: KnownDataset, folder: Path) -> Sequence[DataFile]:
    """The files of a published dataset that nothing in its folder stands in for."""
    choose = NEEDED.get(known.reader)
    return choose(known.files, folder) if choose else known.files


@dataclass(frozen=True)
class Survey:
    """What is known of a dataset before it is fetched."""

    digest: str | None
    """Changes with a user's files; None where checksums say what the dataset is, or where nothing is there yet."""
    classes: list[str] | None
    """Names of the classes, sorted; None if they are not known, or are ImageNet's. Of other published datasets only their number is
    right: names that are not WordNet IDs."""
    pictures: int | None
    """About how many training pictures there are, from above; None if that is not known."""


def survey(spec: FetchSpec, results: Path) -> Survey:
    """Look at a dataset's files: their names and sizes, each once.

    The user's own folders and archives are there, as the checks of the config made sure. Raises ConfigError for splits that name
    nothing, DataError for images without a condition.
    """
    fetch, known = spec.fetch, spec.known
    if known is not None:
        counted = None if known.reader in ("imagenet", "archive") else [f"{n:04}" for n in range(known.classes)]
        return Survey(_digest(_known_lines(spec, folder_of(spec, results))), counted, known.images.get("train"))
    if fetch.source == "photos":
        return Survey(None, [photo.name for photo in PHOTOS], None)
    if fetch.source == "archive":
        return Survey(_digest([] if fetch.files else _archive_lines(fetch)), None, None)
    return _folders(spec.name, fetch)


def _digest(lines: list[str]) -> str | None:
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:10] if lines else None


# -------------------------------------------------------------------------------------------------- folders


@dataclass(frozen=True)
class Contents:
    """What lies in a folder. digest: of the names and sizes of all files."""

    digest: str
    classes: list[str]
    pictures: int


def _folders(dataset: str, fetch: Fetch) -> Survey:
    """Of a folder, or two; or of lists, which name what is looked at: a folder beside them may be huge."""
    folders = {"path": fetch.path, "conditions": fetch.conditions}
    there = {option: folder for option, folder in folders.items() if folder is not None}
    for folder in there.values():
        _refuse_missing_splits(dataset, folder, fetch)
    lists = _lists(fetch)
    lines = _list_lines(fetch)
    if lists:
        return Survey(_digest(lines), None, sum(1 for file in lists for _ in read_flist(file)))
    found = {option: _contents(folder) for option, folder in there.items()}
    if fetch.conditions is not None and fetch.path is not None:
        pairs(fetch.path, fetch.conditions)
    images = found["path"]
    digest = _digest([f"{option} {contents.digest}" for option, contents in found.items()])
    return Survey(digest, None if fetch.splits else images.classes, images.pictures)


def _refuse_missing_splits(dataset: str, folder: Path, fetch: Fetch) -> None:
    """Raise ConfigError if what `splits` names in a folder is not there."""
    for split, value in fetch.splits.items():
        if list_file(value, folder) is None and not (folder / value).is_dir():
            text = f"datasets.{dataset}.fetch.splits.{split}: {value!r} is neither a list nor a folder in {folder}."
            raise ConfigError(text)


def _contents(folder: Path) -> Contents:
    """In one pass, for there may be millions of files on a slow disk."""
    digest, classes, pictures = hashlib.sha256(), set[str](), 0
    for file in walk(folder):
        digest.update(f"{file} {_size(folder, file)}\n".encode(errors="surrogateescape"))
        if file.lower().endswith(FORMATS):
            classes.add(file.partition("/")[0] if "/" in file else folder.name)
            pictures += 1
    return Contents(digest.hexdigest(), sorted(classes), pictures)


def _size(folder: Path, file: str) -> int:
    """Bytes; -1 for a link to nothing."""
    try:
        return os.stat(f"{folder}/{file}").st_size  # noqa: PTH116 (a Path for each of a million files takes longer)
    except OSError:
        return -1


def _lists(fetch: Fetch) -> list[Path]:
    return [file for value in fetch.splits.values() if (file := list_file(value, fetch.path)) is not None]


def _list_lines(fetch: Fetch) -> list[str]:
    """The content of the lists of splits. Raises ConfigError for one that is not there."""
    lists = _lists(fetch)
    if fetch.path is None and len(lists) < len(fetch.splits):
        text = "without `path` both are lists, named by absolute paths, and not all of these are files"
        raise ConfigError(f"fetch.splits: {text}: {', '.join(fetch.splits.values())}.")
    return [f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in lists]


def _archive_lines(fetch: Fetch) -> list[str]:
    assert fetch.path is not None
    return [f"{fetch.path.name} {fetch.path.stat().st_size}", *_list_lines(fetch)]


def _known_lines(spec: FetchSpec, folder: Path) -> list[str]:
    """What stands in for archives whose checksums are known: the number of files in each folder; of those without, names and sizes."""
    assert spec.known is not None
    if spec.known.files:
        trees = [folder / name for name in UNPACKED.get(spec.known.reader, ()) if (folder / name).is_dir()]
        return [f"{tree.name}/{place} {count}" for tree in trees for place, count in sorted(_counts(tree).items())]
    if folder.is_file():
        return [f"{folder.name} {folder.stat().st_size}"]
    return [_contents(folder).digest] if folder.is_dir() else []


def _counts(tree: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in walk(tree):
        place = name.rpartition("/")[0]
        counts[place] = counts.get(place, 0) + 1
    return counts


def to_check(spec: FetchSpec, results: Path, pictures: int | None) -> int:
    """About how many pictures `fetch` reads: as many as it found, or as its source is known to have; 0 if nothing is known.

    pictures: of the survey.
    """
    with suppress(DataError):
        header = Manifest.read(results / spec.folder / "manifest.jsonl").header
        return int(header["images"] + header["rejected"]) * (2 if spec.fetch.source == "pairs" else 1)
    if spec.known is not None:
        return sum(spec.known.images.values())
    if spec.fetch.source == "photos":
        return len(PHOTOS)
    return (pictures or 0) * (2 if spec.fetch.source == "pairs" else 1)
