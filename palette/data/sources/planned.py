"""Facts about a dataset that planning needs before fetching: changes of its files, its classes, what is missing."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from palette.config.datasets import DataFile, Fetch, KnownDataset, Split
from palette.data.images.pictures import FORMATS
from palette.data.photos import PHOTOS
from palette.data.sources import celeba, imagenet, places
from palette.data.sources.archive import nvidia_labels
from palette.data.sources.files import Missing, folder_of, missing_files
from palette.data.sources.folders import class_of
from palette.data.sources.manifest import Manifest
from palette.data.sources.members import zip_names
from palette.data.sources.splits import Splits, list_file, splits_of
from palette.data.sources.unsupported import advice
from palette.data.sources.walk import pairs, walk
from palette.errors import ConfigError, DataError
from palette.system.files import sha256

if TYPE_CHECKING:
    from palette.stages.fetch import FetchSpec


class Unpacked(NamedTuple):
    """Functions that find unpacked copies of a published dataset, which replace its files."""

    needed: Callable[[tuple[DataFile, ...], Path], list[DataFile]]
    """Files, folder → the files that nothing in the folder replaces."""
    trees: Callable[[Path], Mapping[Split | None, Path]]
    """Folder → unpacked archives by split; the key None stands for all splits."""
    lists: Callable[[Path], Sequence[Path]]
    """Folder → the lists that replace other files."""


UNPACKED: Mapping[str, Unpacked] = {
    "imagenet": Unpacked(imagenet.needed, imagenet.trees, imagenet.lists),
    "places365": Unpacked(places.needed, places.trees, places.lists),
    "celeba": Unpacked(celeba.needed, celeba.trees, celeba.lists),
}
"""Reader → its functions; other readers need all files."""


def missing(spec: "FetchSpec", results: Path) -> list[Missing]:
    """Return the files that the user has to get manually before a published dataset can be fetched."""
    if spec.known is None:
        return []
    folder = folder_of(spec, results)
    return list(missing_files(spec.name, spec.known, folder, needed(spec.known, folder)))


def incomplete(spec: "FetchSpec", short: Mapping[str, str]) -> list[Missing]:
    """Return the unpacked copies that the user has to complete. short: that of the survey."""
    known = spec.known
    source = (known.by_hand or known.homepage) if known else ""
    return [
        Missing(spec.name, Path(path), None, source, known.license, wrong) for path, wrong in short.items() if known
    ]


def needed(known: KnownDataset, folder: Path) -> Sequence[DataFile]:
    """Return the files of a published dataset that nothing in its folder replaces."""
    reader = UNPACKED.get(known.reader)
    return reader.needed(known.files, folder) if reader else known.files


def downloads(spec: "FetchSpec", results: Path) -> list[str]:
    """Return a line for each file that `fetch` will download: name, destination and size."""
    folder = folder_of(spec, results)
    files = needed(spec.known, folder) if spec.known else spec.fetch.files
    return [
        f"dataset {spec.name}: {folder / file.file} ({f'{file.bytes / 1e9:.1f} GB' if file.bytes else 'size not stated'})"
        for file in files
        if file.urls and not (folder / file.file).is_file()
    ]


@dataclass(frozen=True)
class Survey:
    """Facts about a dataset before it is fetched."""

    digest: str | None
    """Digest that changes with a user's files; None where checksums identify the dataset, or where there are no
    files yet."""
    classes: list[str] | None
    """Sorted class names; None if they are unknown, or are ImageNet's. For other published datasets only their
    number is right: the names are placeholders that are not WordNet IDs."""
    pictures: int | None
    """Upper estimate of the number of training images; None if unknown."""
    splits: Mapping[Split, int] = field(default_factory=dict)
    """Number of images in each split that the config names, where known."""
    advice: str = ""
    """Hint about files that contain images in an unsupported form."""
    short: Mapping[str, str] = field(default_factory=dict)
    """Incomplete unpacked copies of published datasets: path → what is wrong."""


def survey(spec: "FetchSpec", results: Path) -> Survey:
    """Survey a dataset's files by name and size, looking at each once.

    The config checks have made sure that the user's own folders and archives exist. Raises ConfigError for splits that
    name nothing; DataError for images without a condition, unreadable lists and ZIPs, and faces with the same number.
    """
    fetch, known = spec.fetch, spec.known
    if known is not None:
        return _published(known, folder_of(spec, results))
    if fetch.source == "photos":
        return Survey(None, [photo.name for photo in PHOTOS], None)
    if fetch.source == "archive":
        return Survey(None, None, None) if fetch.files else _archive(spec.name, fetch)
    return _folders(spec.name, fetch)


def _digest(lines: list[str]) -> str | None:
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:10] if lines else None


# ----------------------------------------------------------------------------------- the user's own files


@dataclass
class Contents:
    """Images of a folder, an archive or lists."""

    classes: set[str] = field(default_factory=set)
    splits: Counter[str] = field(default_factory=Counter)
    """Split → number of its images; without splits, all are counted under ""."""
    endings: Counter[str] = field(default_factory=Counter)
    """Number of other files, by file extension."""

    def survey(self, digest: str | None, named: Iterable[Split]) -> Survey:
        """Return the facts that planning needs. named: the splits that the config names."""
        splits = {split: self.splits[split] for split in named}
        return Survey(digest, sorted(self.classes), self.splits.total(), splits, advice(self.endings))


def _contents(files: Iterable[str], splits: Splits, outside: str) -> Contents:
    """Count images by name. outside: the class of files that are in no folder."""
    found = Contents()
    for file in files:
        if not file.lower().endswith(FORMATS):
            found.endings[PurePosixPath(file).suffix.lower()] += 1
        elif (place := splits.place(file)) is not None:
            split, inside = place
            first, below, _ = inside.partition("/")
            found.classes.add(first if below else outside)
            found.splits[split or ""] += 1
    return found


def _listed(splits: Splits, root: Path | None) -> Contents:
    """Count the images in lists. Nothing else is looked at, because a folder next to them may be huge."""
    pictures = {file: split for file, split in splits.lists.items() if file.lower().endswith(FORMATS)}
    return Contents({class_of(file, root) for file in pictures}, Counter(pictures.values()))


def _folders(dataset: str, fetch: Fetch) -> Survey:
    """Survey a folder, two folders, or lists."""
    folders = {option: folder for option in ("path", "conditions") if (folder := getattr(fetch, option)) is not None}
    for folder in folders.values():
        _refuse_missing_splits(dataset, folder, fetch)
    lines = _list_lines(fetch)
    splits = splits_of(fetch.splits, fetch.path)
    if splits.lists:
        return _listed(splits, fetch.path).survey(_digest(lines), fetch.splits)
    found = {option: _folder(folder, splits) for option, folder in folders.items()}
    if fetch.conditions is not None and fetch.path is not None:
        pairs(fetch.path, fetch.conditions)
    images, _ = found["path"]
    digest = _digest([f"{option} {digest}" for option, (_, digest) in found.items()])
    return images.survey(digest, fetch.splits)


def _folder(folder: Path, splits: Splits) -> tuple[Contents, str]:
    """Return a folder's images, and the digest of the names and sizes of all its files.

    Both come from one pass, because there may be millions of files on a slow disk.
    """
    digest = hashlib.sha256()

    def files() -> Iterator[str]:
        for file in walk(folder):
            digest.update(f"{file} {_size(folder, file)}\n".encode(errors="surrogateescape"))
            yield file

    return _contents(files(), splits, folder.name), digest.hexdigest()


def _archive(dataset: str, fetch: Fetch) -> Survey:
    """Survey a ZIP, which has a directory of its files; a tar has none, so `fetch` reads it."""
    assert fetch.path is not None
    digest, files = _digest(_archive_lines(fetch)), zip_names(fetch.path)
    if files is None:
        return Survey(digest, None, None)
    splits = splits_of(fetch.splits, fetch.path)
    found = _contents(files, splits, fetch.path.name.split(".")[0])
    for prefix, split in splits.prefixes.items():
        if not found.splits[split]:
            depth = prefix.count("/") + 1
            folders = sorted({"/".join(file.split("/")[:depth]) for file in files if file.count("/") >= depth})
            text = f"no pictures in {prefix!r} of {fetch.path}. Its folders: {', '.join(folders[:10]) or 'none'}."
            raise ConfigError(f"datasets.{dataset}.fetch.splits.{split}: {text}")
    if labels := nvidia_labels(fetch.path):
        found.classes = {*labels.values()}
    return found.survey(digest, fetch.splits)


def _refuse_missing_splits(dataset: str, folder: Path, fetch: Fetch) -> None:
    """Raise ConfigError if an entry of `splits` is neither a list nor a folder."""
    for split, value in fetch.splits.items():
        if list_file(value, folder) is None and not (folder / value).is_dir():
            text = f"datasets.{dataset}.fetch.splits.{split}: {value!r} is neither a list nor a folder in {folder}."
            raise ConfigError(text)


def _size(folder: Path, file: str) -> int:
    """Return the size in bytes; -1 for a broken link."""
    try:
        return os.stat(f"{folder}/{file}").st_size  # noqa: PTH116 (a Path for each of a million files takes longer)
    except OSError:
        return -1


def _lists(fetch: Fetch) -> list[Path]:
    return [file for value in fetch.splits.values() if (file := list_file(value, fetch.path)) is not None]


def _list_lines(fetch: Fetch) -> list[str]:
    """Return the name and SHA-256 of each split's list. Raises ConfigError for a missing list if there is no `path`."""
    lists = _lists(fetch)
    if fetch.path is None and len(lists) < len(fetch.splits):
        text = "without `path` both are lists, named by absolute paths, and not all of these are files"
        raise ConfigError(f"fetch.splits: {text}: {', '.join(fetch.splits.values())}.")
    return [f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in lists]


def _archive_lines(fetch: Fetch) -> list[str]:
    assert fetch.path is not None
    return [f"{fetch.path.name} {fetch.path.stat().st_size}", *_list_lines(fetch)]


# ---------------------------------------------------------------------------------------- published datasets


def _published(known: KnownDataset, folder: Path) -> Survey:
    """Survey the unpacked folders and lists that replace a published dataset's files, whose checksums are known.

    A dataset without known files is surveyed as a whole.
    """
    counted = None if known.reader in ("imagenet", "archive") else [f"{n:04}" for n in range(known.classes)]
    lines, short = list[str](), dict[str, str]()
    if (reader := UNPACKED.get(known.reader)) is not None:
        for split, tree in reader.trees(folder).items():
            counts, pictures = _counts(tree)
            lines += [f"{tree.name}/{place} {count}" for place, count in sorted(counts.items())]
            short |= _short(tree, pictures, known.images.get(split, 0) if split else sum(known.images.values()))
        lines += [f"{file.name} {sha256(file)}" for file in reader.lists(folder)]
    elif not known.files and folder.is_file():
        lines = [f"{folder.name} {folder.stat().st_size}"]
    elif not known.files and folder.is_dir():
        lines = [_folder(folder, Splits({}, {}))[1]]
    if known.reader == "celeba-hq" and (faces := celeba.count_faces(folder)) is not None:
        short = _short(folder, faces, sum(known.images.values()))
    return Survey(_digest(lines), counted, known.images.get("train"), short=short)


def _short(place: Path, found: int, published: int) -> dict[str, str]:
    return {str(place): f"{found:,} pictures instead of {published:,}"} if found < published else {}


def _counts(tree: Path) -> tuple[dict[str, int], int]:
    """Return the number of files in each folder of `tree`, and the number of all images."""
    counts, pictures = Counter[str](), 0
    for file in walk(tree):
        counts[file.rpartition("/")[0]] += 1
        pictures += file.lower().endswith(FORMATS)
    return counts, pictures


def to_check(spec: "FetchSpec", results: Path, pictures: int | None) -> int:
    """Return about how many images `fetch` reads: the number in its manifest or of its source, else 0.

    pictures: that of the survey.
    """
    with suppress(DataError):
        header = Manifest.read(results / spec.folder / "manifest.jsonl").header
        return int(header["images"] + header["rejected"]) * (2 if spec.fetch.source == "pairs" else 1)
    if spec.known is not None:
        return sum(spec.known.images.values())
    if spec.fetch.source == "photos":
        return len(PHOTOS)
    return (pictures or 0) * (2 if spec.fetch.source == "pairs" else 1)
