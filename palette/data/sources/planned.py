"""What the plan has to know of a dataset before anything is fetched: whether its files changed, its classes, what is missing."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
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


# ------------------------------------------------------------------------------------------------- listings


def listing(spec: FetchSpec, results: Path) -> str | None:
    """A digest that changes with a user's files; None where checksums say what the dataset is, or where nothing is there yet.

    Raises ConfigError for a folder or an archive of the user's that is not there, DataError for images without a condition.
    """
    fetch = spec.fetch
    if spec.known is not None:
        lines = _known_lines(spec, folder_of(spec, results))
    elif fetch.source == "archive":
        lines = [] if fetch.files else _archive_lines(spec.name, fetch)
    else:
        lines = [*_list_lines(fetch), *_folder_lines(spec.name, fetch)]
    if fetch.conditions is not None and fetch.path is not None:
        pairs(fetch.path, fetch.conditions)
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:10] if lines else None


def _folder_lines(dataset: str, fetch: Fetch) -> list[str]:
    """Names and sizes of the files of a folder, or two."""
    lines: list[str] = []
    for option, folder in (("path", fetch.path), ("conditions", fetch.conditions)):
        if folder is None:
            continue
        if not folder.is_dir():
            raise ConfigError(f"datasets.{dataset}.fetch.{option}: no folder {folder}.")
        for split, value in fetch.splits.items():
            if list_file(value, folder) is None and not (folder / value).is_dir():
                text = f"datasets.{dataset}.fetch.splits.{split}: {value!r} is neither a list nor a folder in {folder}."
                raise ConfigError(text)
        if not _lists(fetch):  # lists name what is looked at, and a folder beside it may be huge
            lines += sorted(_names_and_sizes(folder))
    return lines


def _names_and_sizes(folder: Path) -> Iterator[str]:
    return (f"{name} {(folder / name).stat().st_size}" for name in walk(folder) if (folder / name).exists())


def _lists(fetch: Fetch) -> list[Path]:
    return [file for value in fetch.splits.values() if (file := list_file(value, fetch.path)) is not None]


def _list_lines(fetch: Fetch) -> list[str]:
    """The content of the lists of splits. Raises ConfigError for one that is not there."""
    lists = _lists(fetch)
    if fetch.path is None and len(lists) < len(fetch.splits):
        text = "without `path` both are lists, named by absolute paths, and not all of these are files"
        raise ConfigError(f"fetch.splits: {text}: {', '.join(fetch.splits.values())}.")
    return [f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in lists]


def _archive_lines(dataset: str, fetch: Fetch) -> list[str]:
    assert fetch.path is not None
    if not fetch.path.is_file():
        raise ConfigError(f"datasets.{dataset}.fetch.path: no archive {fetch.path}.")
    return [f"{fetch.path.name} {fetch.path.stat().st_size}", *_list_lines(fetch)]


def _known_lines(spec: FetchSpec, folder: Path) -> list[str]:
    """What stands in for archives whose checksums are known: the number of files in each folder; of those without, names and sizes."""
    assert spec.known is not None
    if spec.known.files:
        trees = [folder / name for name in UNPACKED.get(spec.known.reader, ()) if (folder / name).is_dir()]
        return [f"{tree.name}/{place} {count}" for tree in trees for place, count in sorted(_counts(tree).items())]
    if folder.is_file():
        return [f"{folder.name} {folder.stat().st_size}"]
    return sorted(_names_and_sizes(folder)) if folder.is_dir() else []


def _counts(tree: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in walk(tree):
        place = name.rpartition("/")[0]
        counts[place] = counts.get(place, 0) + 1
    return counts


# -------------------------------------------------------------------------------------------------- classes


def classes(spec: FetchSpec) -> list[str] | None:
    """The names of a dataset's classes, sorted; None if they are not known before it is fetched, or are ImageNet's.

    Of other published datasets only their number is right: names that are not WordNet IDs.
    """
    fetch = spec.fetch
    if spec.known is not None:
        return None if spec.known.reader in ("imagenet", "archive") else [f"{n:04}" for n in range(spec.known.classes)]
    if fetch.source == "photos":
        return [photo.name for photo in PHOTOS]
    if fetch.source == "archive" or fetch.splits or fetch.path is None:
        return None
    pictures = (file for file in walk(fetch.path) if file.lower().endswith(FORMATS))
    return sorted({file.partition("/")[0] if "/" in file else fetch.path.name for file in pictures})


# ------------------------------------------------------------------------------------------------- pictures


def pictures(spec: FetchSpec) -> int | None:
    """About how many training pictures there are, from above; None if that is not known before they are fetched."""
    if spec.known is not None:
        return spec.known.images.get("train")
    return None if spec.fetch.path is None or not spec.fetch.path.is_dir() else _count(spec.fetch.path)


def in_folder(fetch: Fetch, most: int) -> int | None:
    """How many pictures a user's folder has by their endings, counted up to `most`; None of other sources."""
    if fetch.source not in ("folder", "pairs") or fetch.splits or fetch.path is None or not fetch.path.is_dir():
        return None
    return _count(fetch.path, most)


def to_check(spec: FetchSpec, results: Path) -> int:
    """About how many pictures `fetch` reads: as many as it found, or as its source is known to have; 0 if nothing is known."""
    fetch = spec.fetch
    with suppress(DataError):
        header = Manifest.read(results / spec.folder / "manifest.jsonl").header
        return int(header["images"] + header["rejected"]) * (2 if fetch.source == "pairs" else 1)
    if spec.known is not None:
        return sum(spec.known.images.values())
    if fetch.source == "photos":
        return len(PHOTOS)
    if lists := _lists(fetch):
        return sum(1 for file in lists for _ in read_flist(file))
    return sum(_count(folder) for folder in (fetch.path, fetch.conditions) if folder is not None and folder.is_dir())


def _count(folder: Path, most: int | None = None) -> int:
    pictures = (file for file in walk(folder) if file.lower().endswith(FORMATS))
    return sum(1 for _ in islice(pictures, most))
