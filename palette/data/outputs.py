"""Somebody's outputs: a folder of images, one for each test image, that are scored as a row of their own.

They are named as the test images' originals (`n01440764/ILSVRC2012_val_00000293.png`, or the last part alone) or by their numbers
(`00000017.png`, as `palette sample` and NVIDIA's tools number them). The ending does not count.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from palette.data.folders import walk
from palette.data.pictures import FORMATS, UNREADABLE, decode_picture
from palette.data.store import ImageStore, image_name
from palette.errors import DataError

SHOWN = 10
"""Names that a message lists."""


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))


Scheme = Callable[[int, Mapping[str, Any]], str]
"""Index of a test image and what its store says of it → the name, without ending, that its output has."""
SCHEMES: Mapping[str, Scheme] = {
    "the originals": lambda index, facts: _stem(facts.get("file", "")),
    "the originals, without their folders": lambda index, facts: PurePosixPath(_stem(facts.get("file", ""))).name,
    "numbers": lambda index, facts: f"{index:08}",
    "numbers, as in the store": lambda index, facts: _stem(image_name(index)),
    "numbers, as in the store, without folders": lambda index, facts: PurePosixPath(_stem(image_name(index))).name,
}


def images_of(folder: Path) -> list[str]:
    """The images in a folder, by path, sorted."""
    return sorted(file for file in walk(folder) if file.lower().endswith(FORMATS))


def listing(folder: Path) -> str:
    """A digest of the names and sizes of the images, so that a changed file is another row."""
    lines = [f"{file} {(folder / file).stat().st_size}" for file in images_of(folder)]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:10]


def matched(folder: Path, tests: ImageStore) -> list[str]:
    """The file of each test image, in their order. Raises DataError that names what is missing, too much or there twice."""
    files: dict[str, list[str]] = {}
    for file in images_of(folder):
        files.setdefault(_stem(file), []).append(file)
    wanted = {name: [scheme(*item) for item in enumerate(tests.manifest)] for name, scheme in SCHEMES.items()}
    best = max(wanted, key=lambda name: len(files.keys() & set(wanted[name])))
    names = wanted[best]
    problems = [f"missing: {name}.*, of test image {index}" for index, name in enumerate(names) if name not in files]
    problems += [f"of no test image: {files[name][0]}" for name in sorted(files.keys() - set(names))]
    problems += [f"which one: {' or '.join(found)}" for found in files.values() if len(found) > 1]
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise DataError(
            f"{folder}: not one image for each of the {len(tests)} test images of {tests.path}, named as {best}; problems: "
            f"{len(problems)}.\n  " + "\n  ".join([*problems[:SHOWN], *more])
        )
    return [files[name][0] for name in names]


def require_size(folder: Path, files: Sequence[str], size: int) -> None:
    """Raise DataError that names the files that are no images of `size` × `size` pixels."""
    problems = [f"{file}: {problem}" for file in files if (problem := _problem(folder / file, size))]
    if problems:
        raise DataError(
            f"{folder}: {len(problems)} of {len(files)} files are not images of {size} × {size} pixels, and they are scored as they "
            "are:\n  " + "\n  ".join(problems[:SHOWN])
        )


def _problem(path: Path, size: int) -> str | None:
    try:
        with Image.open(path) as image:
            return None if image.size == (size, size) else f"{image.width} × {image.height} pixels"
    except UNREADABLE as error:
        return f"not readable ({error})"


def read(path: Path) -> npt.NDArray[np.uint8]:
    """An image: uint8 [H, W, 3]. Raises DataError for one that is damaged."""
    try:
        return np.asarray(decode_picture(path.read_bytes()))
    except UNREADABLE as error:
        raise DataError(f"{path}: not readable ({error}).") from None
