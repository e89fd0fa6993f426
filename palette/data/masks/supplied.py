"""Evaluation masks supplied by the user: a folder of PNGs, or the packed archive that the paper's authors released."""

import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from palette.data.images.degraded import Mask
from palette.data.images.pictures import FORMATS, UNREADABLE, Picture, read_picture
from palette.data.masks.drawn import MASKS
from palette.data.sources.matching import matched
from palette.data.sources.walk import walk
from palette.data.store.store import ImageStore
from palette.errors import DataError
from palette.system.files import sha256

RELEASED = {kind: mask.released for kind, mask in MASKS.items() if mask.released}
"""Kind → its name in the paper's `imagenet_freeform_masks.npz`: one bit per pixel, 1 where the model must generate."""
TOLERANCE = 0.01
"""Tolerance for the area of supplied masks, as a share of the image: rounding, and a border counted or not."""


def hole_levels(picture: Picture) -> npt.NDArray[np.uint8]:
    """Return a mask's levels, uint8 [H, W]: from 255, where the model must generate, to 0, where the photo is kept.

    This is the one rule for all masks drawn by users. In an image with transparency, the transparent part is the hole,
    and colors are ignored. In one without, the hole is white: bright in all three channels. Raises ValueError for paint
    of one or two colors on a transparent layer, where either part could be meant.
    """
    colors = np.asarray(picture.pixels.convert("RGB"))
    if picture.alpha is None:
        white: npt.NDArray[np.uint8] = colors.min(axis=2)
        return white
    opaque = colors[np.asarray(picture.alpha) == 255] @ np.array([1 << 16, 1 << 8, 1])
    if not opaque.size or (opaque.any() and len(np.unique(opaque)) <= 2):
        raise ValueError(
            "paint on a transparent layer: either part could be the hole; save it in black and white, without transparency"
        )
    return 255 - np.asarray(picture.alpha)


def digest(path: Path) -> str:
    """Return the SHA-256 of an archive, or of the names and bytes of a folder's PNGs. Raises DataError for others."""
    if path.is_file():
        return sha256(path)
    found = hashlib.sha256()
    for name in pngs(path):
        found.update(f"{name} {sha256(path / name)}\n".encode(errors="surrogateescape"))
    return found.hexdigest()


def own_masks(
    path: Path, kind: str, size: int, count: int, tests: ImageStore | None = None, by: str | None = None
) -> Iterator[Mask]:
    """Yield the masks of test images 0 to `count` - 1, each bool [size, size]. kind: the bin of their areas, or `own`.

    tests: the test images that a folder's masks are named after, as `by` says; None: mask i belongs to test image i.
    Raises DataError if there are too few masks, for masks of another size, and for those whose area is outside the bin.
    """
    if path.is_file():
        masks = _packed(path, kind, size, count)
    elif tests is None:
        masks = _of_folder(path, _by_position(path, count), size)
    else:
        masks = _of_folder(path, _by_name(path, tests, by), size)
    low, high = (MASKS[kind].area if kind in MASKS else None) or (0.0, 1.0)
    for number, mask in enumerate(masks):
        area = float(mask.mean())
        if not 0 < area < 1:
            raise DataError(f"{path}: mask {number} hides {'all' if area else 'nothing'} of the image.")
        if not low - TOLERANCE <= area <= high + TOLERANCE:
            raise DataError(
                f"{path}: mask {number} hides {area:.1%} of the image, and `mask: {kind}` is for {low:.0%} to {high:.0%}. "
                "Choose another `mask`, or leave it out for masks of any area."
            )
        yield mask


def pngs(folder: Path, flat: bool = False) -> list[str]:
    """Return the sorted paths of the PNGs in a folder and, unless `flat`, its sub-folders.

    Raises DataError if it is not a folder, or has only images of other formats.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: neither a folder of PNGs nor an archive of masks (`masks` of a task).")
    files = sorted(file for file in walk(folder) if not (flat and "/" in file))
    masks = [file for file in files if file.lower().endswith(".png")]
    others = {Path(file).suffix.lower() for file in files} & {*FORMATS}
    if others and not masks:
        raise DataError(
            f"{folder}: has no PNGs, only {' and '.join(sorted(others))} (`masks` of a task). Save the masks as "
            "PNGs in black and white; JPEG puts gray between the two."
        )
    return masks


def _by_position(folder: Path, count: int) -> list[str]:
    """Return the first `count` PNGs, sorted by name, or by value if all names are numbers: `2.png` before `10.png`."""
    files = pngs(folder, flat=True)
    if all(Path(file).stem.isdecimal() for file in files):
        files.sort(key=lambda file: int(Path(file).stem))
    _refuse_too_few(folder, len(files), count)
    return files[:count]


def _by_name(folder: Path, tests: ImageStore, by: str | None) -> list[str]:
    try:
        return matched(folder, pngs(folder), tests, "tasks.NAME.masks_by", by, spare=True)
    except DataError as error:
        advice = "If mask i is meant for test image i, set `masks_by: position` in that task."
        raise DataError(f"{error}\n{advice}") from None


def _of_folder(folder: Path, files: Sequence[str], size: int) -> Iterator[Mask]:
    for file in (folder / name for name in files):
        try:
            levels = hole_levels(read_picture(file.read_bytes(), file.name))
        except UNREADABLE as error:
            raise DataError(f"{file}: not readable as a mask ({error}).") from None
        if levels.shape != (size, size):
            raise DataError(
                f"{file}: {levels.shape[1]} × {levels.shape[0]} pixels, but the test images have {size} × {size}."
            )
        if not np.isin(levels, (0, 255)).all():
            raise DataError(f"{file}: has other values than black and white. White is where the model must generate.")
        yield levels == 255


def _packed(path: Path, kind: str, size: int, count: int) -> Iterator[Mask]:
    bits, pixels = _bits(path, kind), size * size
    _refuse_too_few(path, bits.size * 8 // pixels, count)
    for first in range(0, count * pixels, pixels):
        start, end = first // 8, -(-(first + pixels) // 8)
        yield np.unpackbits(bits[start:end])[first % 8 :][:pixels].reshape(size, size).astype(np.bool_)


def _bits(path: Path, kind: str) -> npt.NDArray[np.uint8]:
    """Return the packed bits of a kind of mask. Raises DataError if the archive does not contain it."""
    name = RELEASED.get(kind)
    if name is None:
        raise DataError(
            f"{path}: a packed archive holds masks of several areas; say which by `mask`: {', '.join(RELEASED)}."
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            if name not in archive:
                raise DataError(
                    f"{path}: has no masks named {name!r}; it has {', '.join(map(repr, archive)) or 'none'}."
                )
            bits = archive[name]
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not readable as a packed archive of masks, `.npz` ({error}).") from None
    if bits.dtype != np.uint8:
        raise DataError(f"{path}: {name!r} holds {bits.dtype}, where bytes of eight pixels each (uint8) should be.")
    return np.ascontiguousarray(bits).ravel()


def _refuse_too_few(path: Path, masks: int, count: int) -> None:
    if masks < count:
        raise DataError(
            f"{path}: {masks} masks, but there are {count} test images, and each needs one. Lower `test_images`."
        )
