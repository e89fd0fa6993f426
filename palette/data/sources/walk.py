"""Files of a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from palette.errors import DataError


def walk(folder: Path) -> Iterator[str]:
    """Yield the paths of all files that are not hidden, relative to `folder`, with `/`.

    Links are followed, each folder once. The order is the same on every machine: the files of a folder, sorted, before
    those of its sub-folders.
    """
    seen: set[Path] = set()
    for parent, folders, files in os.walk(folder, onerror=_unlistable, followlinks=True):
        real = Path(parent).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        place = Path(parent).relative_to(folder).as_posix()
        prefix = "" if place == "." else f"{place}/"
        yield from (prefix + name for name in sorted(files) if not name.startswith("."))


def _unlistable(error: OSError) -> None:
    """Raise DataError for an unreadable folder: it could be a whole class, so it must not be skipped."""
    raise DataError(f"{error.filename}: {error.strerror}. Make it readable, or move it out of the folder.") from None
