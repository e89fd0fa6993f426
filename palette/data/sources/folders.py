"""`source: folder`, and `source: pairs` of two folders."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from palette.data.images.pictures import FORMATS
from palette.data.sources.listing import Listing
from palette.data.sources.manifest import Entry
from palette.data.sources.splits import Splits, splits_of
from palette.data.sources.walk import pairs, walk
from palette.errors import DataError

if TYPE_CHECKING:
    from palette.stages.fetch import FetchSpec
    from palette.stages.stage import Stage


def list_folder(stage: "Stage[FetchSpec]") -> Listing:
    """List every file of a user's folder, or the files in the lists that `splits` names."""
    fetch = stage.spec.fetch
    root = fetch.path
    if root is not None:
        refuse_missing(root, "path")
    splits = splits_of(fetch.splits, root)
    if splits.lists:
        entries = (
            {"file": file, "class": class_of(file, root), "split": split} for file, split in splits.lists.items()
        )
        return Listing("folder", [root or Path("/")], entries, total=len(splits.lists))
    assert root is not None
    return Listing("folder", [root.resolve()], entries_of(root, splits), total=sum(1 for _ in walk(root)))


def entries_of(folder: Path, splits: Splits) -> Iterator[Entry]:
    """Yield the files of a folder with their split and class: the top-level sub-folder, or the folder itself."""
    for file in walk(folder):
        placed = splits.place(file)
        if placed is not None:
            yield entry_of(file, *placed, folder.name)


def entry_of(file: str, split: str | None, inside: str, outside: str) -> Entry:
    """Return a file's entry, based only on its name.

    inside: its path below the folder whose sub-folders are the classes. outside: the class of files not in a
    sub-folder.
    """
    if not file.lower().endswith(FORMATS):
        return {"file": file, "reason": f"unsupported file extension; supported: {' '.join(FORMATS)}"}
    first, below, _ = inside.partition("/")
    return {"file": file, "class": first if below else outside} | ({"split": split} if split else {})


def class_of(file: str, root: Path | None) -> str:
    """Return the class of a listed file: its top-level sub-folder below `root`, or without a root its parent folder."""
    parts = Path(file).parts
    if root is None:
        return parts[-2] if len(parts) > 1 else "pictures"
    return parts[0] if len(parts) > 1 else root.name


def refuse_missing(folder: Path, option: str) -> None:
    """Raise DataError unless `folder`, the value of an option of `fetch`, is a folder."""
    if not folder.is_dir():
        raise DataError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'} (`{option}` of `fetch`).")


# -------------------------------------------------------------------------------------------------- pairs


def list_pairs(stage: "Stage[FetchSpec]") -> Listing:
    """List the images of two folders in pairs. A pair with an unreadable image is rejected as a whole.

    Raises DataError for images without a counterpart.
    """
    targets, conditions = stage.spec.fetch.path, stage.spec.fetch.conditions
    assert targets is not None
    assert conditions is not None
    refuse_missing(targets, "path")
    refuse_missing(conditions, "conditions")
    found = pairs(targets, conditions)
    entries = (
        {"file": target, "class": class_of(target, targets), "condition": {"file": condition, "container": 1}}
        for target, condition in found
    )
    return Listing("pairs", [targets.resolve(), conditions.resolve()], entries, total=len(found))
