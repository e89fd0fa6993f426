"""The files of a folder of images, or of two whose images belong together."""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from palette.data.images.pictures import FORMATS
from palette.errors import DataError, indented


def walk(folder: Path) -> Iterator[str]:
    """Paths of all files that are not hidden, relative to `folder`, with `/`. Follows links, each folder once.

    In the same order on every machine: the files of a folder, sorted, before those of its sub-folders.
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
    """A folder that may not be entered could be a whole class: better to stop than to leave it out."""
    raise DataError(f"{error.filename}: {error.strerror}. Make it readable, or move it out of the folder.") from None


def pairs(targets: Path, conditions: Path) -> list[tuple[str, str]]:
    """The pictures of two folders that have the same name up to its ending: (target, condition), sorted.

    Files that are no pictures by their ending are passed over. Raises DataError that lists the pictures without a
    partner, those of which a folder has two, and a folder that is given twice.
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
    """The pictures of a folder by their relative path without its ending."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted(walk(folder)):
        if file.lower().endswith(FORMATS):
            found[str(PurePosixPath(file).with_suffix(""))].append(file)
    return found
