"""Somebody's outputs: a folder of images, one for each test image, that are scored as a row of their own."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from palette.data.images.pictures import FORMATS, UNREADABLE, decode_picture
from palette.data.sources.walk import walk
from palette.errors import DataError, indented


def images_of(folder: Path) -> list[str]:
    """The images in a folder, by path, sorted."""
    return sorted(file for file in walk(folder) if file.lower().endswith(FORMATS))


def listing(folder: Path) -> str:
    """A digest of the names and sizes of the images, so that a changed file is another row."""
    lines = [f"{file} {(folder / file).stat().st_size}" for file in images_of(folder)]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:10]


def require_size(folder: Path, files: Sequence[str], size: int) -> None:
    """Raise DataError that names the files that are no images of `size` × `size` pixels."""
    problems = [f"{file}: {problem}" for file in files if (problem := _problem(folder / file, size))]
    if problems:
        raise DataError(
            f"{folder}: {len(problems)} of {len(files)} files are not images of {size} × {size} pixels, and they are scored as they "
            f"are:{indented(problems)}"
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
