"""The files of a folder of images."""

import os
from collections.abc import Iterator
from pathlib import Path

from palette.errors import DataError


def walk(folder: Path) -> Iterator[str]:
    """Paths of all files that are not hidden, relative to `folder`, with `/`. Follows links, each folder once."""
    seen: set[Path] = set()
    for parent, folders, files in os.walk(folder, onerror=_unlistable, followlinks=True):
        real = Path(parent).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name).relative_to(folder).as_posix() for name in files if not name.startswith("."))


def _unlistable(error: OSError) -> None:
    """A folder that may not be entered could be a whole class: better to stop than to leave it out."""
    raise DataError(f"{error.filename}: {error.strerror}. Make it readable, or move it out of the folder.") from None
