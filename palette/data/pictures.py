"""Reading pictures of any common kind as 8-bit sRGB, and cutting squares from them."""

import hashlib
import io
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps

from palette.data.photos import Box
from palette.errors import DataError

FORMATS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Endings of files that are taken for pictures, in lower case."""
FILTER = "lanczos"
"""Of every change of size. Pillow widens it when it shrinks, so that nothing aliases."""
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for files that are damaged, huge or no pictures."""


def _eight_bits(image: Image.Image) -> Image.Image:
    """16- or 32-bit grayscale → 8 bits: integers lose their low byte, floats are taken as 0 to 1."""
    values = np.asarray(image)
    scaled = values * 255.0 if image.mode == "F" else values / 257.0
    return Image.fromarray(np.rint(np.clip(np.nan_to_num(scaled), 0, 255)).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    """Transparent pixels show white, as on a page."""
    layers = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers).convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert from the picture's own color space to sRGB. A profile that is broken or does not fit is ignored."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return converted or image


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode, upright, as 8-bit sRGB. The first frame of an animation."""
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if image.has_transparency_data:
        return _on_white(image)
    if profile and image.mode in ("RGB", "CMYK", "L"):
        image = _to_srgb(image, profile)
    return image.convert("RGB")


def decode_picture(data: bytes) -> Image.Image:
    """The bytes of a picture file → 8-bit sRGB. Raises one of `UNREADABLE`."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return to_rgb(image)


def read_picture(path: Path, sha256: str) -> Image.Image:
    """A picture whose bytes are still those that were fetched, as 8-bit sRGB. Raises DataError."""
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise DataError(f"{path}: changed since it was fetched. Delete the fetch stage's folder and run again.")
        return decode_picture(data)
    except UNREADABLE as error:
        raise DataError(f"{path}: not readable any more ({error}). It was readable when it was fetched.") from None


def centre_square(width: int, height: int) -> Box:
    """The largest square in the middle of a picture."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def cut_square(image: Image.Image, box: Box, size: int) -> npt.NDArray[np.uint8]:
    """The pixels in `box`, resized: uint8 [size, size, 3]. Cut first: the filter sees nothing outside the box."""
    return np.asarray(image.crop(box).resize((size, size), Image.Resampling.LANCZOS)).copy()
