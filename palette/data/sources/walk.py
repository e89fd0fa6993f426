"""Files of an image folder, or of two folders with paired images."""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from palette.data.images.pictures import FORMATS
from palette.errors import DataError, indented


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
        inside = Path(parent).relative_to(folder).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        yield from (prefix + name for name in sorted(files) if not name.startswith("."))


def _unlistable(error: OSError) -> None:
    """Raise DataError for an unreadable folder: it could be a whole class, so it must not be skipped."""
    raise DataError(f"{error.filename}: {error.strerror}. Make it readable, or move it out of the folder.") from None


def pairs(targets: Path, conditions: Path) -> list[tuple[str, str]]:
    """Return the images of two folders with the same name apart from the extension: (target, condition), sorted.

    Files without an image extension are skipped. Raises DataError that lists images without a counterpart and names
    that a folder has twice, and if both folders are the same.
    """
    if targets.resolve() == conditions.resolve():
        raise DataError(
            f"{targets}: `path` and `conditions` of `fetch` are the same folder, so each picture would be made from itself. "
            "Name the folder of the targets and that of what they are to be made from."
        )
    found = {folder: _by_name(folder) for folder in (targets, conditions)}
    problems = [
        f"{folder / files[0]}: no file {name}.* in {other}"
        for folder, other in ((targets, conditions), (conditions, targets))
        for name, files in sorted(found[folder].items())
        if name not in found[other]
    ]
    problems += [
        f"{folder}: which one of {' and '.join(files)}?"
        for folder, pictures in found.items()
        for files in pictures.values()
        if len(files) > 1
    ]
    if problems:
        raise DataError(
            f"{targets} and {conditions} (`path` and `conditions` of `fetch`) are not pairs of pictures; problems: "
            f"{len(problems)}.{indented(problems)}"
        )
    return [(found[targets][name][0], found[conditions][name][0]) for name in sorted(found[targets])]


def _by_name(folder: Path) -> dict[str, list[str]]:
    """Return the images of a folder by their relative path without extension."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted(walk(folder)):
        if file.lower().endswith(FORMATS):
            found[str(PurePosixPath(file).with_suffix(""))].append(file)
    return found
