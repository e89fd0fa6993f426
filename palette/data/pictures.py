"""Reading pictures of any common kind as 8-bit sRGB, and cutting squares from them."""

import io
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps

from palette.config.datasets import Filter
from palette.data.jpeg import refuse_missing_blocks
from palette.data.limits import refuse_bombs, refuse_missing_rows, refuse_missing_strips
from palette.data.photos import Box

KINDS = {
    ".avif": ("AVIF",),
    ".bmp": ("BMP", "DIB"),
    ".gif": ("GIF",),
    ".jfif": ("JPEG", "MPO"),
    ".jpeg": ("JPEG", "MPO"),
    ".jpg": ("JPEG", "MPO"),
    ".pgm": ("PPM",),
    ".png": ("PNG",),
    ".ppm": ("PPM",),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
    ".webp": ("WEBP",),
}
"""Endings of files that are taken for pictures, in lower case, and Pillow's names of what such a file should be."""
FORMATS = tuple(KINDS)
UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    OverflowError,
    MemoryError,
    TypeError,
    LookupError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for files that are damaged, huge or no pictures."""
EIGHT_BITS = np.rint(np.arange(65536) / 257.0).astype(np.uint8)
"""Of each value of 16 bits."""
GRAY = ("1", "L", "LA", "La", "I", "F")


@dataclass(frozen=True)
class Picture:
    """A picture ready to be cut: 8-bit RGB, or L where gray was to stay; upright.

    converted: what was done to it, in words of a few letters that can be counted: `CMYK`, `color profile`, `turned`, …
    """

    pixels: Image.Image
    converted: tuple[str, ...] = ()


def read_picture(data: bytes, name: str = "", background: str = "white", gray: bool = False) -> Picture:
    """The bytes of a picture file → 8-bit sRGB, and what was converted. Raises one of `UNREADABLE`.

    name: of the file, to notice an ending that does not fit. background: color under transparent pixels. gray: leave
    pictures without color in one channel.
    """
    if data.startswith(b"\x89PNG"):  # Pillow compares CRCs of pixels only when asked to
        with Image.open(io.BytesIO(data)) as image:
            image.verify()
    with Image.open(io.BytesIO(data)) as image:
        refuse_bombs(image, data)
        refuse_missing_strips(image)
        notes = [*_misnamed(image, name), *_first_frame(image), *_deep(image)]
        image.load()
        refuse_missing_rows(image, data)
        refuse_missing_blocks(image, data)
        picture = develop(image, background, gray)
    return Picture(picture.pixels, (*notes, *picture.converted))


def decode_picture(data: bytes) -> Image.Image:
    """The bytes of a picture file → 8-bit sRGB on white. Raises one of `UNREADABLE`."""
    return read_picture(data).pixels


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode, upright, as 8-bit sRGB on white."""
    return develop(image).pixels


def develop(image: Image.Image, background: str = "white", gray: bool = False) -> Picture:
    """A loaded picture of any mode, upright, as 8-bit sRGB: RGB, or L for gray ones that stay gray."""
    notes: list[str] = []
    profile = image.info.get("icc_profile")
    is_gray = image.mode in GRAY or image.mode.startswith("I;")
    image = _upright(image, notes)
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
        notes.append("more than 8 bits")
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    elif image.mode not in ("RGB", "L"):
        notes.append({"P": "palette", "1": "1 bit"}.get(image.mode, image.mode))
    image = _to_srgb(image, profile, notes)
    if alpha is not None and alpha.getextrema() != (255, 255):
        image = _over(image, alpha, background)
        notes.append("transparency")
    if is_gray:
        notes.append("gray")
    return Picture(image.convert("L" if is_gray and gray else "RGB"), tuple(notes))


def _misnamed(image: Image.Image, name: str) -> list[str]:
    ending = PurePosixPath(name).suffix.lower()
    return [f"{image.format} named {ending}"] if image.format not in KINDS.get(ending, (image.format,)) else []


def _first_frame(image: Image.Image) -> list[str]:
    return ["first frame of several"] if getattr(image, "is_animated", False) else []


def _deep(image: Image.Image) -> list[str]:
    """Color with 16 bits a channel, of which Pillow keeps the high byte."""
    tiles = getattr(image, "tile", ())  # (decoder, box, offset, its arguments)
    return ["more than 8 bits"] if image.mode.startswith("RGB") and any(";16" in str(tile[3]) for tile in tiles) else []


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    """Turned and mirrored as its EXIF orientation says. EXIF that cannot be read says nothing."""
    try:
        turned = ImageOps.exif_transpose(image)
        if image.getexif().get(0x0112, 1) in range(2, 9):
            notes.append("turned")
    except UNREADABLE:
        notes.append("EXIF ignored")
        return image
    return turned


def _eight_bits(image: Image.Image) -> Image.Image:
    """16- or 32-bit grayscale → 8 bits: integers are taken as 0 to 65,535, floats as 0 to 1."""
    values = np.asarray(image)
    if image.mode == "F":
        return Image.fromarray(np.rint(np.clip(np.nan_to_num(values), 0, 1) * 255.0).astype(np.uint8))
    return Image.fromarray(EIGHT_BITS[np.clip(values, 0, 65535)])


def _over(image: Image.Image, alpha: Image.Image, background: str) -> Image.Image:
    layers = image.convert("RGB")
    layers.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", layers.size, background), layers).convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """From the picture's own color space to sRGB. A profile that is broken or does not fit is ignored."""
    if image.mode == "LAB":
        return ImageCms.applyTransform(image, _from_lab()) or image
    if not profile:
        return image
    if image.mode not in ("RGB", "CMYK", "L"):
        image = image.convert("RGB")
    try:
        transform = _transform(profile, image.mode)
        converted = ImageCms.applyTransform(image, transform) if transform else None
    except (ImageCms.PyCMSError, OSError, ValueError):
        notes.append("color profile ignored")
        return image
    if converted:
        notes.append("color profile")
    return converted or image


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB; None for sRGB itself, where rounding would be all that it does."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    if mode == "RGB":
        steps = np.arange(0, 256, 15, dtype=np.uint8)
        colors = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
        changed = ImageCms.applyTransform(Image.fromarray(colors), transform)
        if np.abs(np.asarray(changed).astype(int) - colors).max() <= 1:
            return None
    return transform


@lru_cache(maxsize=1)
def _from_lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")


# ------------------------------------------------------------------------------------------------- squares


def centre_square(width: int, height: int) -> Box:
    """The largest square in the middle of a picture."""
    return middle(width, height, min(width, height))


def middle(width: int, height: int, side: int) -> Box:
    """A square of that side in the middle of a picture; of the largest side that fits, where it is too large."""
    side = min(side, width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}
"""Pillow's: it widens them when it shrinks, so that nothing aliases."""


def cut_square(image: Image.Image, box: Box, size: int, kind: Filter = "lanczos") -> npt.NDArray[np.uint8]:
    """The pixels in `box`, resized: uint8 [size, size, 3], or [size, size] of an image in gray.

    Cut first: the filter sees nothing outside the box.
    """
    square = image.crop(box)
    if kind == "area":
        return area(np.asarray(square), size)
    return np.asarray(square.resize((size, size), FILTERS[kind])).copy()


def area(pixels: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """A square resized by the mean over the area of each new pixel, parts of old ones counted as parts: uint8 [size, size, …].

    As TensorFlow's `area` method, which ColTran's evaluation uses. All numbers are integers below 2^53, so that float64
    holds them exactly and every machine finds the same.
    """
    side = len(pixels)
    old, new = np.arange(side) * size, np.arange(size)[:, None] * side
    shares = np.maximum(np.minimum(old + size, new + side) - np.maximum(old, new), 0).astype(np.float64)
    rows = shares @ pixels.reshape(side, -1)
    columns = shares @ rows.reshape(size, side, -1)
    means: npt.NDArray[np.uint8] = ((columns + side * side // 2) // (side * side)).astype(np.uint8)
    return means.reshape(size, size, *pixels.shape[2:])
