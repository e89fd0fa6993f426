"""`source: folder`, and `source: pairs` of two folders."""

from collections.abc import Iterator
from pathlib import Path

from palette.config import Fetch
from palette.data.folders import pairs, walk
from palette.data.manifest import Entry
from palette.data.pictures import FORMATS
from palette.data.sources.listing import Listing
from palette.errors import DataError


def list_folder(fetch: Fetch, folder: Path) -> Listing:
    """Every file of a user's folder."""
    assert fetch.path is not None
    refuse_missing(fetch.path, "path")
    total = sum(1 for _ in walk(fetch.path))
    return Listing("folder", [fetch.path.resolve()], _entries(fetch.path), total=total)


def _entries(folder: Path) -> Iterator[Entry]:
    for file in walk(folder):
        if file.lower().endswith(FORMATS):
            yield {"file": file, "class": class_of(file, folder)}
        else:
            yield {"file": file, "reason": f"no picture by its ending; these are taken: {' '.join(FORMATS)}"}


def class_of(file: str, folder: Path) -> str:
    """The first sub-folder on the way to a file is its class, or else the folder itself."""
    first, inside, _ = file.partition("/")
    return first if inside else folder.name


def refuse_missing(folder: Path, option: str) -> None:
    """Raise DataError unless `folder`, given by an option of `fetch`, is one."""
    if not folder.is_dir():
        raise DataError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'} (`{option}` of `fetch`).")


# -------------------------------------------------------------------------------------------------- pairs


def list_pairs(fetch: Fetch, folder: Path) -> Listing:
    """The pictures of two folders that belong together. A pair of which one cannot be read is left out as a whole.

    Raises DataError for pictures without a partner.
    """
    assert fetch.path is not None
    assert fetch.conditions is not None
    targets, conditions = fetch.path, fetch.conditions
    refuse_missing(targets, "path")
    refuse_missing(conditions, "conditions")
    found = pairs(targets, conditions)
    entries = (
        {"file": target, "class": class_of(target, targets), "condition": {"file": condition, "container": 1}}
        for target, condition in found
    )
    return Listing("pairs", [targets.resolve(), conditions.resolve()], entries, total=len(found))
