"""Survey of a user's own files by name and size, for planning: each is looked at once, none is read."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath

import yaml

from palette.config.datasets import Fetch, Split
from palette.data.images.pictures import FORMATS
from palette.data.sources.source import Survey
from palette.data.sources.splits import Splits, list_file
from palette.data.sources.walk import walk
from palette.errors import ConfigError
from palette.system.files import sha256


@cache
def _advice() -> dict[str, str]:
    """Return file extension → what such files are, and how to convert them."""
    known = yaml.safe_load(Path(__file__).with_name("unsupported.yaml").read_text(encoding="utf-8"))
    return {ending: advice for endings, advice in known.items() for ending in endings.split()}


@dataclass
class Contents:
    """Images of a folder, an archive or lists.

    splits: split → number of its images; without splits, all are counted under "". endings: number of other files, by
    file extension.
    """

    classes: set[str] = field(default_factory=set)
    splits: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)

    def survey(self, digest: str | None, named: Iterable[Split]) -> Survey:
        known = {ending: count for ending, count in sorted(self.endings.items()) if ending in _advice()}
        advice = " ".join(
            f"There are {count:,} files {ending}: {_advice()[ending]}." for ending, count in known.items()
        )
        splits = {split: self.splits[split] for split in named}
        return Survey(digest, sorted(self.classes), self.splits.total(), splits, advice)


def contents(files: Iterable[str], splits: Splits, outside: str) -> Contents:
    """Count images by name. outside: the class of files that are in no folder."""
    found = Contents()
    for file in files:
        if not file.lower().endswith(FORMATS):
            found.endings[PurePosixPath(file).suffix.lower()] += 1
        elif (place := splits.place(file)) is not None:
            split, path = place
            first, below, _ = path.partition("/")
            found.classes.add(first if below else outside)
            found.splits[split or ""] += 1
    return found


def folder_contents(folder: Path, splits: Splits) -> tuple[Contents, str]:
    """Return a folder's images, and the digest of the names and sizes of all its files.

    Both come from one pass, because there may be millions of files on a slow disk.
    """
    digest = hashlib.sha256()

    def files() -> Iterator[str]:
        for file in walk(folder):
            digest.update(f"{file} {_size(folder, file)}\n".encode(errors="surrogateescape"))
            yield file

    return contents(files(), splits, folder.name), digest.hexdigest()


def _size(folder: Path, file: str) -> int:
    """Return the size in bytes; -1 for a broken link."""
    try:
        return os.stat(f"{folder}/{file}").st_size  # noqa: PTH116 (a Path for each of a million files takes longer)
    except OSError:
        return -1


def digest_of(lines: list[str]) -> str | None:
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:10] if lines else None


def list_lines(fetch: Fetch) -> list[str]:
    """Return the name and SHA-256 of each split's list. Raises ConfigError for a missing list if there is no `path`."""
    lists = [file for value in fetch.splits.values() if (file := list_file(value, fetch.path)) is not None]
    if fetch.path is None and len(lists) < len(fetch.splits):
        text = "without `path` both are lists, named by absolute paths, and not all of these are files"
        raise ConfigError(f"fetch.splits: {text}: {', '.join(fetch.splits.values())}.")
    return [f"{file.name} {sha256(file)}" for file in lists]
