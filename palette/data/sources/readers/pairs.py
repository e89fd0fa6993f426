"""`source: pairs`: the images of two folders, each with the condition from which it is to be generated."""

from collections import defaultdict
from pathlib import Path, PurePosixPath

from palette.config.datasets import Fetch
from palette.data.images.pictures import FORMATS
from palette.data.sources.source import FetchStage, Listing, Source, Survey
from palette.data.sources.splits import Splits, class_of, refuse_missing
from palette.data.sources.survey import digest_of, folder_contents
from palette.data.sources.walk import walk
from palette.errors import DataError, indented


def list_pairs(stage: FetchStage) -> Listing:
    """List the images of two folders in pairs. A pair with an unreadable image is rejected as a whole.

    Raises DataError for images without a counterpart.
    """
    targets, conditions = _folders(stage.spec.fetch)
    refuse_missing(targets, "path")
    refuse_missing(conditions, "conditions")
    found = pairs(targets, conditions)
    entries = (
        {"file": target, "class": class_of(target, targets), "condition": {"file": condition, "container": 1}}
        for target, condition in found
    )
    return Listing("pairs", [targets.resolve(), conditions.resolve()], entries, total=len(found))


def _folders(fetch: Fetch) -> tuple[Path, Path]:
    assert fetch.path is not None
    assert fetch.conditions is not None
    return fetch.path, fetch.conditions


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
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted(walk(folder)):
        if file.lower().endswith(FORMATS):
            found[str(PurePosixPath(file).with_suffix(""))].append(file)
    return found


def survey(dataset: str, fetch: Fetch) -> Survey:
    targets, conditions = _folders(fetch)
    (images, digest), (_, other) = (folder_contents(folder, Splits({}, {})) for folder in (targets, conditions))
    pairs(targets, conditions)
    return images.survey(digest_of([f"path {digest}", f"conditions {other}"]), ())


SOURCE = Source(
    list_pairs,
    own=True,
    takes=("path", "conditions"),
    needs=(("path",), ("conditions",)),
    survey=survey,
    files_per_image=2,
)
