"""Facts about a dataset that planning needs before fetching: changes of its files, its classes, what is missing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from palette.config.datasets import DataFile, KnownDataset
from palette.data.images.pictures import FORMATS
from palette.data.sources.files import Missing, folder_of, other_size
from palette.data.sources.manifest import Manifest
from palette.data.sources.readers import READERS
from palette.data.sources.source import Survey
from palette.data.sources.splits import Splits
from palette.data.sources.survey import digest_of, folder_contents
from palette.data.sources.walk import walk
from palette.errors import DataError
from palette.system.files import sha256

if TYPE_CHECKING:
    from palette.stages.fetch import FetchSpec


def missing(spec: "FetchSpec", results: Path) -> list[Missing]:
    """Return a published dataset's files that are missing and cannot be downloaded, or that have the wrong length."""
    known = spec.known
    if known is None:
        return []
    folder, source = folder_of(spec, results), known.by_hand or known.homepage
    files = needed(known, folder)
    if not files and not folder.exists():
        return [Missing(spec.name, folder, None, source, known.license)]
    return [
        Missing(spec.name, folder / file.file, file.bytes, source, known.license, wrong)
        for file in files
        if (wrong := other_size(file, folder)) or not (file.urls or (folder / file.file).is_file())
    ]


def incomplete(spec: "FetchSpec", short: Mapping[str, str]) -> list[Missing]:
    """Return the unpacked copies that the user has to complete. short: that of the survey."""
    known = spec.known
    if known is None:
        return []
    source = known.by_hand or known.homepage
    return [Missing(spec.name, Path(path), None, source, known.license, wrong) for path, wrong in short.items()]


def needed(known: KnownDataset, folder: Path) -> Sequence[DataFile]:
    """Return the files of a published dataset that nothing in its folder replaces."""
    return READERS[known.reader].needed(known.files, folder)


def downloads(spec: "FetchSpec", results: Path) -> list[str]:
    """Return a line for each file that `fetch` will download: name, destination and size."""
    folder = folder_of(spec, results)
    files = needed(spec.known, folder) if spec.known else spec.fetch.files
    return [
        f"dataset {spec.name}: {folder / file.file} ({f'{file.bytes / 1e9:.1f} GB' if file.bytes else 'size not stated'})"
        for file in files
        if file.urls and not (folder / file.file).is_file()
    ]


def survey(spec: "FetchSpec", results: Path) -> Survey:
    """Survey a dataset's files by name and size, looking at each once.

    The config checks have made sure that the user's own folders and archives exist. Raises ConfigError for splits that
    name nothing; DataError for images without a condition, unreadable lists and ZIPs, and faces with the same number.
    """
    if spec.known is not None:
        return _published(spec.known, folder_of(spec, results))
    return READERS[spec.fetch.source].survey(spec.name, spec.fetch)


def _published(known: KnownDataset, folder: Path) -> Survey:
    """Survey the unpacked folders and lists that replace a published dataset's files, whose checksums are known.

    A dataset without known files is surveyed as a whole. Of its classes only the number is right: the names are
    placeholders that are not WordNet IDs.
    """
    reader = READERS[known.reader]
    classes = None if reader.names_classes else [f"{n:04}" for n in range(known.classes)]
    lines, short = list[str](), dict[str, str]()
    total = sum(known.images.values())
    for split, tree in reader.trees(folder).items():
        counts, pictures = Counter[str](), 0
        for file in walk(tree):
            counts[file.rpartition("/")[0]] += 1
            pictures += file.lower().endswith(FORMATS)
        lines += [f"{tree.name}/{place} {count}" for place, count in sorted(counts.items())]
        short |= _short(tree, pictures, known.images.get(split, 0) if split else total)
    lines += [f"{file.name} {sha256(file)}" for file in reader.lists(folder)]
    if not lines and not known.files and folder.is_file():
        lines = [f"{folder.name} {folder.stat().st_size}"]
    elif not lines and not known.files and folder.is_dir():
        lines = [folder_contents(folder, Splits({}, {}))[1]]
    if (found := reader.count(folder)) is not None:
        short = _short(folder, found, total)
    return Survey(digest_of(lines), classes, known.images.get("train"), short=short)


def _short(place: Path, found: int, published: int) -> dict[str, str]:
    return {str(place): f"{found:,} pictures instead of {published:,}"} if found < published else {}


def to_check(spec: "FetchSpec", results: Path, pictures: int | None) -> int:
    """Return about how many images `fetch` reads: the number in its manifest or of its source, else 0.

    pictures: that of the survey.
    """
    source = READERS[spec.known.reader if spec.known else spec.fetch.source]
    with suppress(DataError):
        header = Manifest.read(results / spec.folder / "manifest.jsonl").header
        return int(header["images"] + header["rejected"]) * source.files_per_image
    if spec.known is not None:
        return sum(spec.known.images.values())
    return source.images or (pictures or 0) * source.files_per_image
