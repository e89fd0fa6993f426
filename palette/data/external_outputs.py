"""Outputs of other methods: a folder with one image per test image, scored as a separate table row."""

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
    """Return the relative paths of the images in a folder, sorted."""
    return sorted(file for file in walk(folder) if file.lower().endswith(FORMATS))


def listing(folder: Path) -> str:
    """Return a digest of the images' names and sizes, so that a changed file gives a new row."""
    lines = [f"{file} {(folder / file).stat().st_size}" for file in images_of(folder)]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:10]


def require_size(folder: Path, files: Sequence[str], size: int) -> None:
    """Raise DataError listing the files that are not images of `size` × `size` pixels."""
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
    """Return an image as uint8 [H, W, 3]. Raises DataError if it is damaged."""
    try:
        return np.asarray(decode_picture(path.read_bytes()))
    except UNREADABLE as error:
        raise DataError(f"{path}: not readable ({error}).") from None
