"""Read pictures of any common format as 8-bit sRGB, and cut squares from them."""

import io
import struct
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import SAMPLESPERPIXEL

from palette.config.datasets import Filter
from palette.data.images.depth import Range, UnclearRange, Values, first_tile, in_words, values_of
from palette.data.images.jpeg import refuse_missing_blocks
from palette.data.images.limits import kind_of, refuse_bombs, refuse_missing_rows, refuse_missing_strips
from palette.data.images.png import SIGNATURE, without_side_chunks

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are exclusive."""
JPEG = ("JPEG", "MPO")
KINDS = {
    ".avif": ("AVIF",), ".bmp": ("BMP", "DIB"), ".gif": ("GIF",), ".jfif": JPEG, ".jpeg": JPEG, ".jpg": JPEG,
    ".pgm": ("PPM",), ".png": ("PNG",), ".ppm": ("PPM",), ".tif": ("TIFF",), ".tiff": ("TIFF",), ".webp": ("WEBP",),
}  # fmt: skip
"""File extensions of supported image files, in lower case → Pillow's names of the formats they stand for."""
FORMATS = tuple(KINDS)
UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, OverflowError, MemoryError, TypeError, LookupError, struct.error,
    zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""Exceptions that Pillow raises for files that are damaged, too large or not images."""
GRAY = ("1", "L", "LA", "La", "I", "F")
LOSSLESS = ("gray", "palette", "1 bit", "turned", "enlarged")
"""Lossless conversions, which need no message."""


@dataclass(frozen=True)
class Picture:
    """Decoded picture, ready to be cut: upright, 8-bit RGB, or L if it was gray and is to stay gray.

    converted: the conversions that were applied, as short labels that can be counted: `CMYK`, `color profile`,
    `turned`, … alpha: its opacity, L; None without transparency. values: its original values if it has more than 8
    bits.
    """

    pixels: Image.Image
    converted: tuple[str, ...] = ()
    alpha: Image.Image | None = None
    values: Values | None = None

    @property
    def lost(self) -> str:
        """Lossy conversions as text; empty for most pictures."""
        return ", ".join(note for note in self.converted if note not in LOSSLESS)


def read_picture(
    data: bytes, name: str = "", background: str = "white", gray: bool = False, value_range: Range | None = None
) -> Picture:
    """Decode the bytes of an image file to 8-bit sRGB, recording the conversions. Raises one of `UNREADABLE`.

    name: the file's name, to detect a wrong extension. background: color under transparent pixels. gray: keep pictures
    without color in one channel. value_range: black and white of pictures with more than 8 bits; without it, those that
    do not fill the range of their type raise UnclearRange.
    """
    try:
        return _read(data, name, background, gray, value_range)
    except UnclearRange:
        raise
    except UNREADABLE:
        for png, dropped in without_side_chunks(data) if data.startswith(SIGNATURE) else ():
            try:
                picture = _read(png, name, background, gray, value_range)
            except UnclearRange:
                raise
            except UNREADABLE:
                continue
            return replace(picture, converted=(f"PNG chunks ignored: {dropped}", *picture.converted))
        raise


def _read(data: bytes, name: str, background: str, gray: bool, value_range: Range | None) -> Picture:
    if data.startswith(SIGNATURE):  # Pillow checks the CRCs of pixel data only in `verify`
        with Image.open(io.BytesIO(data)) as image:
            image.verify()
    with _opened(data) as image:
        refuse_bombs(image, data)
        refuse_missing_strips(image)
        notes = _left_out(image, name)
        tile = first_tile(image)
        image.load()
        refuse_missing_rows(image, data)
        refuse_missing_blocks(image, data)
        picture = develop(image, background, gray, value_range, values_of(image, tile, data))
    return replace(picture, converted=(*notes, *picture.converted))


def decode_picture(data: bytes) -> Image.Image:
    """Decode the bytes of an image file to 8-bit sRGB on white. Raises one of `UNREADABLE`."""
    return read_picture(data).pixels


def develop(
    image: Image.Image,
    background: str = "white",
    gray: bool = False,
    value_range: Range | None = None,
    values: Values | None = None,
) -> Picture:
    """Convert a loaded picture of any mode to upright 8-bit sRGB: RGB, or L for gray ones if `gray` is set."""
    notes: list[str] = []
    profile = image.info.get("icc_profile")
    is_gray = image.mode in GRAY or image.mode.startswith("I;")
    values = values or values_of(image, first_tile(image))
    if values:
        image = _eight_bits(image, values, value_range, notes)
    image = _upright(image, notes)
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    elif image.mode not in ("RGB", "L"):
        notes.append({"P": "palette", "1": "1 bit"}.get(image.mode, image.mode))
    image = _to_srgb(image, profile, notes)
    if alpha is not None and alpha.getextrema() == (255, 255):
        alpha = None
    if alpha is not None:
        image = image.convert("RGB")
        image.putalpha(alpha)
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")
        notes.append("transparency")
    if is_gray:
        notes.append("gray")
    return Picture(image.convert("L" if is_gray and gray else "RGB"), tuple(notes), alpha, values)


def _opened(data: bytes) -> Image.Image:
    """Open an image. Raises ValueError naming the format if Pillow does not support it."""
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        if kind := kind_of(data):
            raise ValueError(f"{kind}, which is not read; save it as gray or RGB of 8 or 16 bits") from None
        raise


def _left_out(image: Image.Image, name: str) -> list[str]:
    notes, ending = list[str](), PurePosixPath(name).suffix.lower()
    if image.format not in KINDS.get(ending, (image.format,)):
        notes.append(f"{image.format} named {ending}")
    if getattr(image, "is_animated", False):
        notes.append("first frame of several")
    read, bands = len(image.getbands()), getattr(image, "tag_v2", {}).get(SAMPLESPERPIXEL, 1)
    if bands > read:
        notes.append(f"first {read} of {bands} bands")
    return notes


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    """Rotate and mirror the picture according to its EXIF orientation, if that is readable."""
    try:
        upright = ImageOps.exif_transpose(image)
        if image.getexif().get(0x0112, 1) in range(2, 9):
            notes.append("turned")
    except UNREADABLE:
        notes.append("EXIF ignored")
        return image
    return upright


def _eight_bits(image: Image.Image, values: Values, declared: Range | None, notes: list[str]) -> Image.Image:
    black, white = values.range(declared)
    low, high = values.measured
    notes.append(f"more than 8 bits: {in_words((black, white))}")
    if low < black or high > white:
        notes.append("values outside the range")
    if declared is None and image.mode in ("RGB", "RGBA", "CMYK"):
        return image  # Pillow has already converted colors in the full range of their type
    converted = Image.fromarray(values.eight_bits(black, white), "CMYK" if image.mode == "CMYK" else None)
    if image.mode == "RGBA":
        converted = converted.convert("RGB")
        converted.putalpha(image.getchannel("A"))
    converted.info = {key: value for key, value in image.info.items() if key != "transparency"}
    if "transparency" in image.info:  # a single value or color, with 16 bits
        notes.append("transparency ignored")
    return converted


def _to_srgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """Convert a picture from its own color space to sRGB. A broken or unsuitable profile is ignored."""
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
    """Return the transform from a profile to sRGB; None if the profile is sRGB, up to rounding."""
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


def center_square(width: int, height: int) -> Box:
    return middle(width, height, min(width, height))


def middle(width: int, height: int, side: int) -> Box:
    """Return the central square with the given side, or the largest that fits if it is too large."""
    side = min(side, width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}
"""Pillow's resampling filters, which are widened for downscaling so that nothing aliases."""


def cut_square(image: Image.Image, box: Box, size: int, kind: Filter = "lanczos") -> npt.NDArray[np.uint8]:
    """Return the pixels in `box`, resized: uint8 [size, size, 3], or [size, size] for a gray image."""
    square = image.crop(box)  # first, so that the filter sees nothing outside it
    if kind == "area":
        return area(np.asarray(square), size)
    return np.asarray(square.resize((size, size), FILTERS[kind])).copy()


def area(pixels: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Resize a square by averaging over the area of each new pixel: uint8 [size, size, …].

    Pixels that are partly covered count in part, as in TensorFlow's `area` method, which ColTran's evaluation uses. All
    numbers are integers below 2^53, which float64 holds exactly: every machine computes the same result.
    """
    side = len(pixels)
    old, new = np.arange(side) * size, np.arange(size)[:, None] * side
    shares = np.maximum(np.minimum(old + size, new + side) - np.maximum(old, new), 0).astype(np.float64)
    rows = shares @ pixels.reshape(side, -1)
    columns = shares @ rows.reshape(size, side, -1)
    means: npt.NDArray[np.uint8] = ((columns + side * side // 2) // (side * side)).astype(np.uint8)
    return means.reshape(size, size, *pixels.shape[2:])
