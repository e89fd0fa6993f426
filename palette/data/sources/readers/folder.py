"""`source: folder`: the images of a user's folder, or those in lists."""

from collections.abc import Iterator
from pathlib import Path

from palette.config.datasets import Fetch
from palette.data.images.pictures import FORMATS
from palette.data.sources.manifest import Entry
from palette.data.sources.source import FetchStage, Listing, Source, Survey
from palette.data.sources.splits import Splits, class_of, entry_of, list_file, refuse_missing, splits_of
from palette.data.sources.survey import Contents, digest_of, folder_contents, list_lines
from palette.data.sources.walk import walk
from palette.errors import ConfigError


def list_folder(stage: FetchStage) -> Listing:
    """List every file of a user's folder, or the files in the lists that `splits` names."""
    fetch = stage.spec.fetch
    root = fetch.path
    if root is not None:
        refuse_missing(root, "path")
    splits = splits_of(fetch.splits, root)
    if splits.lists:
        listed = splits.lists.items()
        entries = ({"file": file, "class": class_of(file, root), "split": split} for file, split in listed)
        return Listing("folder", [root or Path("/")], entries, total=len(listed))
    assert root is not None
    return Listing("folder", [root.resolve()], _entries(root, splits), total=sum(1 for _ in walk(root)))


def _entries(folder: Path, splits: Splits) -> Iterator[Entry]:
    """Yield the files of a folder with their split and class: the top-level sub-folder, or the folder itself."""
    for file in walk(folder):
        placed = splits.place(file)
        if placed is not None:
            yield entry_of(file, *placed, folder.name)


def survey(dataset: str, fetch: Fetch) -> Survey:
    """Survey a folder, or the lists and nothing else, because a folder next to them may be huge.

    Raises ConfigError for splits that name nothing.
    """
    root = fetch.path
    for split, value in fetch.splits.items():
        if root and list_file(value, root) is None and not (root / value).is_dir():
            text = f"datasets.{dataset}.fetch.splits.{split}: {value!r} is neither a list nor a folder in {root}."
            raise ConfigError(text)
    lines, splits = list_lines(fetch), splits_of(fetch.splits, root)
    if splits.lists:
        listed = Contents()
        for file, owner in splits.lists.items():
            if file.lower().endswith(FORMATS):
                listed.classes.add(class_of(file, root))
                listed.splits[owner] += 1
        return listed.survey(digest_of(lines), fetch.splits)
    assert root is not None
    images, digest = folder_contents(root, splits)
    return images.survey(digest_of([f"path {digest}"]), fetch.splits)


SOURCE = Source(list_folder, own=True, takes=("path", "splits"), needs=(("path", "splits"),), survey=survey)
