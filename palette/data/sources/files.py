"""Files of a dataset: where they are, whether their checksums match, and how to get missing ones."""

import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from palette.config.datasets import DataFile
from palette.errors import DataError
from palette.system.download import Remote, alone, checksums, download, mistake, pinned, sum_file
from palette.system.files import write_text
from palette.system.progress import say

if TYPE_CHECKING:
    from palette.data.sources.source import FetchStage
    from palette.stages.fetch import FetchSpec

VARIABLE = "PALETTE_DATA"
"""Environment variable that names the folder of datasets."""


def data_folder(results: Path, dataset: str) -> Path:
    """Return the default folder of a published dataset's files, which all runs with the same folder share."""
    named = os.environ.get(VARIABLE)
    return (Path(named).expanduser() if named else results / "data").absolute() / dataset


def obtain_all(stage: "FetchStage") -> dict[str, Path]:
    """Return name → path of a dataset's files, downloading missing ones and verifying their bytes. Raises DataError."""
    spec = stage.spec
    folder = folder_of(spec, stage.results)
    files = spec.known.files if spec.known else spec.fetch.files
    by_hand = spec.known.by_hand if spec.known else ""
    return {file.file: obtain(file, folder, by_hand) for file in files}


def folder_of(spec: "FetchSpec", results: Path) -> Path:
    return spec.fetch.path or data_folder(results, spec.fetch.source if spec.known else spec.name)


def obtain(file: DataFile, folder: Path, by_hand: str = "") -> Path:
    """Return the path of a file after verifying its bytes, downloading it if it is missing. Raises DataError."""
    path = folder / file.file
    if path.is_file():
        verify(file, path)
    elif file.urls:
        download(_remote(file, by_hand or f"Get it by other means and put it to {path}."), path)
    else:
        raise DataError(f"{path}: no such file. {by_hand[:1].upper()}{by_hand[1:] or 'Put it there'}.")
    return path


def _remote(file: DataFile, about: str = "") -> Remote:
    return Remote(file.file, file.urls, file.bytes, file.sha256, file.md5, about)


def verify(file: DataFile, path: Path, again: bool = False) -> None:
    """Raise DataError unless a file has the known bytes.

    The checksum found is stored next to the file, so that hundreds of gigabytes are read only once, even by several
    concurrent runs. again: read the file regardless.
    """
    with alone(path) if os.access(path.parent, os.W_OK) else nullcontext():
        if again or not _found_before(file, path):
            _compare(file, path)


def _compare(file: DataFile, path: Path) -> None:
    wrong = other_size(file, path.parent)
    if not wrong:
        say(f"checking {path}")
        sums = checksums(path)
        known = file if file.sha256 or file.md5 else DataFile(file=file.file, sha256=pinned(path))
        wrong = mistake(_remote(known), sums)
    if wrong:
        raise DataError(f"{path}: not the known file ({wrong}). Delete it and get it again.")
    if os.access(path.parent, os.W_OK):
        write_text(sum_file(path), f"{sums['sha256']}  {path.name}\n")


def _found_before(file: DataFile, path: Path) -> bool:
    """Return whether the checksum stored next to a file is newer than the file and matches what is expected."""
    written = pinned(path)
    if written is None or sum_file(path).stat().st_mtime < path.stat().st_mtime:
        return False
    return file.bytes in (None, path.stat().st_size) and file.sha256 in (None, written)


def other_size(file: DataFile, folder: Path) -> str:
    """Return how an existing file's length is wrong, else empty: an interrupted copy is detected without reading it."""
    path = folder / file.file
    size = path.stat().st_size if path.is_file() else None
    return "" if size is None or file.bytes in (None, size) else f"{size:,} bytes instead of {file.bytes:,}"


COMPLETE_IT = "complete it, or take `source: folder` with `splits` for a part of the dataset"


@dataclass(frozen=True)
class Missing:
    """File that the user has to get manually, or to get again.

    source: where to get it. wrong: why an existing file is not the known one; empty for a missing file.
    """

    dataset: str
    path: Path
    bytes: int | None
    source: str
    license: str
    wrong: str = ""

    def __str__(self) -> str:
        size = f" ({self.bytes / 1e9:.1f} GB)" if self.bytes else ""
        terms = f"\n    license: {self.license}" if self.license else ""
        what, then = ("file", "delete it and get it again") if self.path.is_file() else ("folder", COMPLETE_IT)
        wrong = f"\n    not the known {what}: {self.wrong}; {then}" if self.wrong else ""
        return f"dataset {self.dataset}: {self.path}{size}{wrong}\n    {self.source}{terms}"
