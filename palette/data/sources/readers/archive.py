"""`source: archive`: images in tar and ZIP files, read in place; also the ZIPs of NVIDIA's tools."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from palette.config.datasets import Fetch
from palette.data.sources.files import obtain_all
from palette.data.sources.manifest import Entry
from palette.data.sources.members import expanded, members, read_member, zip_names
from palette.data.sources.source import FetchStage, Listing, Source, Survey
from palette.data.sources.splits import Splits, entry_of, splits_of
from palette.data.sources.survey import contents, digest_of, list_lines
from palette.errors import ConfigError, DataError

LABELS = "dataset.json"
"""File in which NVIDIA's tools keep the labels: {"labels": [["00000/img00000000.png", 3], …]}, or null."""


def list_archive(stage: FetchStage) -> Listing:
    """List the images of one archive, or of all `files`; the top-level folder is the class."""
    fetch, known = stage.spec.fetch, stage.spec.known
    files = known.files if known else fetch.files
    paths = list(obtain_all(stage).values()) if files else [fetch.path or Path()]
    owned = [file.split for file in files] or [None]
    paths = [expanded(path, stage.path("")) for path in paths]
    splits = splits_of(fetch.splits or (known.splits if known else {}), paths[0])
    # Those in the stage's own folder are relative to it, so that results can be moved.
    own = stage.path("")
    containers = [path.relative_to(own) if path.is_relative_to(own) else path.resolve() for path in paths]
    return Listing("archive", containers, _entries(paths, owned, splits))


def _entries(paths: Sequence[Path], owned: Sequence[str | None], splits: Splits) -> Iterator[Entry]:
    """Yield the files of archives with their split and class; those in no folder have the archive's name as class."""
    for number, (path, split) in enumerate(zip(paths, owned, strict=True)):
        labels = nvidia_labels(path)
        for found in members(path):
            file = found["file"]
            place = splits.place(file)
            if place is None or (labels is not None and file in (LABELS, "manifest.json")):
                continue
            entry = found if "reason" in found else {**found, **entry_of(file, *place, path.name.split(".")[0])}
            if labels and "class" in entry:
                entry["class"] = labels.get(file, "unlabeled")
            yield entry | ({"container": number} if number else {}) | ({"split": split} if split else {})


def nvidia_labels(path: Path) -> Mapping[str, str] | None:
    """Return file → class for an archive in the layout of NVIDIA's tools; None for other layouts.

    Class names sort in the order of the labels. Raises DataError for labels in another form.
    """
    data = read_member(path, LABELS) if path.suffix == ".zip" else None
    if data is None:
        return None
    try:
        labels = {str(file): int(label) for file, label in json.loads(data)["labels"] or []}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: {LABELS} is not of the form that NVIDIA's tools write ({error}).") from None
    width = len(str(max(labels.values(), default=0)))
    return {file: f"{label:0{width}}" for file, label in labels.items()}


def survey(dataset: str, fetch: Fetch) -> Survey:
    """Survey a ZIP, which has a directory of its files; a tar has none, and files to download are not there yet."""
    if fetch.path is None or fetch.files:
        return Survey()
    digest = digest_of([f"{fetch.path.name} {fetch.path.stat().st_size}", *list_lines(fetch)])
    files = zip_names(fetch.path)
    if files is None:
        return Survey(digest)
    splits = splits_of(fetch.splits, fetch.path)
    found = contents(files, splits, fetch.path.name.split(".")[0])
    for prefix, split in splits.prefixes.items():
        if not found.splits[split]:
            depth = prefix.count("/") + 1
            folders = sorted({"/".join(file.split("/")[:depth]) for file in files if file.count("/") >= depth})
            text = f"no pictures in {prefix!r} of {fetch.path}. Its folders: {', '.join(folders[:10]) or 'none'}."
            raise ConfigError(f"datasets.{dataset}.fetch.splits.{split}: {text}")
    if labels := nvidia_labels(fetch.path):
        found.classes = {*labels.values()}
    return found.survey(digest, fetch.splits)


SOURCE = Source(
    list_archive,
    published=True,
    own=True,
    takes=("path", "splits", "files"),
    needs=(("path", "files"),),
    survey=survey,
    names_classes=True,
)
