"""Match a user's files to test images by name.

Files are named after the test images' originals (`n01440764/ILSVRC2012_val_00000293.png`, or its last part) or by
number (`00000017.png`, as `palette sample` and NVIDIA's tools number them). The extension is ignored.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from palette.data.store.store import ImageStore, image_name
from palette.errors import DataError, indented


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))


Scheme = Callable[[int, Mapping[str, Any]], str]
"""Index of a test image and its entry in the store's manifest → expected file name, without extension."""
SCHEMES: Mapping[str, tuple[str, Scheme]] = {
    "the originals": ("originals", lambda index, facts: _stem(facts.get("file", ""))),
    "the originals, without their folders": (
        "originals",
        lambda index, facts: PurePosixPath(_stem(facts.get("file", ""))).name,
    ),
    "numbers": ("numbers", lambda index, facts: f"{index:08}"),
    "numbers, as in the store": ("numbers", lambda index, facts: _stem(image_name(index))),
    "numbers, as in the store, without folders": (
        "numbers",
        lambda index, facts: PurePosixPath(_stem(image_name(index))).name,
    ),
}
"""Naming schemes, each with the config value that selects it."""


def matched(
    folder: Path, files: Sequence[str], tests: ImageStore, option: str, by: str | None, spare: bool = False
) -> list[str]:
    """Return the file of each test image, in their order.

    files: paths in `folder`. option: the config field that holds `by`. by: `originals` or `numbers`; None: whichever
    fits. spare: allow files of other originals, and other numbers where `by` says that they are numbers. Raises
    DataError that lists missing, superfluous and ambiguous files, and for names that fit in two ways.
    """
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(_stem(file), []).append(file)
    ways = {way: [scheme(*item) for item in enumerate(tests.manifest)] for way, (_, scheme) in SCHEMES.items()}
    # Names shared by several test images, such as crops of one photograph, identify nothing.
    ways = {
        way: names for way, names in ways.items() if len(set(names)) == len(names) and by in (None, SCHEMES[way][0])
    }
    if not ways:
        raise DataError(
            f"{tests.path}: test images share their originals' names. Number the files of {folder} instead."
        )
    tolerant = {way for way in ways if spare and (by or SCHEMES[way][0] == "originals")}
    fitting = [
        way
        for way, names in ways.items()
        if found.keys() >= set(names) and (way in tolerant or len(found) == len(names))
    ]
    answers = {tuple(found[name][0] for name in ways[way]): way for way in reversed(fitting)}
    if len(answers) > 1:
        examples = "; ".join(f"as {way}, test image 0 has {files[0]}" for files, way in answers.items())
        raise DataError(
            f"{folder}: the names fit the test images in more than one way: {examples}. Say which is right with "
            f"`{option}: originals` or `{option}: numbers`, or leave only one set of files there."
        )
    best = fitting[0] if fitting else max(ways, key=lambda way: len(found.keys() & set(ways[way])))
    wanted = ways[best]
    problems = [f"missing: {name}.*, of test image {index}" for index, name in enumerate(wanted) if name not in found]
    if best not in tolerant:
        problems += [f"of no test image: {found[name][0]}" for name in sorted(found.keys() - set(wanted))]
    problems += [f"which one: {' or '.join(found[name])}" for name in wanted if len(found.get(name, ())) > 1]
    if problems:
        raise DataError(
            f"{folder}: not one file for each of the {len(tests)} test images of {tests.path}, named as {best}; problems: "
            f"{len(problems)}.{indented(problems)}"
        )
    return [found[name][0] for name in wanted]
