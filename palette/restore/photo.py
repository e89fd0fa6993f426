"""Photos and masks as given by users: a file, a Pillow image or an array."""

import os
from numbers import Real
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as Pictures
from PIL import UnidentifiedImageError

from palette.data.images.degraded import Image, Mask
from palette.data.images.depth import Range, UnclearRange, in_words
from palette.data.images.pictures import UNREADABLE, Picture, develop, read_picture
from palette.data.masks.supplied import hole_levels
from palette.errors import ConfigError, DataError

Photo = str | os.PathLike[str] | Pictures.Image | npt.NDArray[np.uint8] | npt.NDArray[np.bool_]
"""File of any common format and mode; image; uint8 [H, W, 3], [H, W, 4] or [H, W]; for a mask also bool [H, W]."""


def name_of(photo: Photo, otherwise: str) -> str:
    """Return the file's path for messages; `otherwise` if there is none."""
    return os.fspath(photo) if isinstance(photo, str | os.PathLike) else otherwise


def pixels_of(photo: Photo, otherwise: str = "photo", value_range: Range | None = None) -> Image:
    """Return the photo as uint8 [H, W, 3], otherwise like `picture_of`."""
    return np.asarray(picture_of(photo, otherwise, value_range).pixels).copy()


ADVICE = "Say which ones are: `--range 0 4095`, or in Python `value_range=(0, 4095)`."


def require_range(value_range: Range | None) -> None:
    """Raise ConfigError unless the range is None or two finite numbers, the smaller first."""
    match value_range:
        case None:
            return
        case (Real() as black, Real() as white):
            if np.isfinite(value_range).all() and black < white:
                return
            text = in_words(value_range)
        case _:
            text = repr(value_range)
    raise ConfigError(f"range {text}: should be two numbers, black first and less than white.")


def picture_of(
    photo: Photo, otherwise: str = "photo", value_range: Range | None = None, advice: str = ADVICE
) -> Picture:
    """Return the photo, upright in 8-bit sRGB on white, with its conversions.

    value_range: black and white of photos with more than 8 bits; without it, those that do not fill the range of their
    type are rejected, with `advice` in the message. Raises DataError naming the file, or `otherwise`.
    """
    require_range(value_range)
    name = name_of(photo, otherwise)
    try:
        if isinstance(photo, str | os.PathLike):
            return read_picture(Path(photo).read_bytes(), name, value_range=value_range)
        image = photo if isinstance(photo, Pictures.Image) else _from_array(photo, name)
        return develop(image, value_range=value_range)
    except UnidentifiedImageError:
        raise DataError(f"{name}: not a picture, or of a format that Pillow cannot read.") from None
    except UnclearRange as error:
        raise DataError(f"{name}: {error}. {advice}") from None
    except MemoryError:
        raise DataError(f"{name}: does not fit into memory. Free some, or make a smaller copy of it.") from None
    except UNREADABLE as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{name}: not readable as a picture ({reason}).") from None


def size_of(path: Path) -> tuple[int, int] | None:
    """Return width and height from a file's header; None if it is not an image."""
    try:
        with Pictures.open(path) as picture:
            return picture.size
    except UNREADABLE:
        return None


def _from_array(array: npt.NDArray[np.uint8] | npt.NDArray[np.bool_], name: str) -> Pictures.Image:
    shape = np.shape(array)
    layout = len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))
    if getattr(array, "dtype", None) != np.uint8 or not layout or 0 in shape:
        got = f"{getattr(array, 'dtype', type(array).__name__)} {list(shape)}"
        raise DataError(f"{name}: an array must be uint8 [H, W, 3], [H, W, 4] or [H, W], got {got}.")
    return Pictures.fromarray(np.ascontiguousarray(array))


def hole_of(mask: Photo) -> Mask:
    """Return the hole of a mask: bool [H, W], True where to generate. The rule is that of `hole_levels`, from 128 on.

    Raises DataError for a mask that cannot be read, or that hides all or nothing.
    """
    name = name_of(mask, "mask")
    if isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.ndim == 2:
        hole: Mask = mask.astype(np.bool_)
    else:
        try:
            hole = hole_levels(picture_of(mask, name, advice="Save the mask with 0 and 255.")) >= 128
        except ValueError as error:
            raise DataError(f"{name}: {error}.") from None
    if hole.all() or not hole.any():
        fault = "white everywhere, so nothing of the photo is known" if hole.all() else "nowhere white"
        raise DataError(f"{name}: {fault}. Paint white (255) where the model shall generate, black elsewhere.")
    return hole


def mask_of(mask: Photo, height: int, width: int) -> Mask:
    """Return the hole of a mask, as `hole_of` does. Raises DataError also for a mask of another size."""
    hole = hole_of(mask)
    if hole.shape != (height, width):
        sizes = f"{hole.shape[1]}×{hole.shape[0]} pixels, but the photo has {width}×{height}"
        raise DataError(f"{name_of(mask, 'mask')}: {sizes}. A mask is as large as its photo.")
    return hole
