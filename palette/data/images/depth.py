"""Pictures with more than 8 bits per value: which of their values are black and white.

A file states how many bits its values have, not how many are used: a 12-bit camera writes 0 to 4095 into 16 bits. So a
range is declared, or a picture must reach the upper half of its type's range. Nothing is guessed.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, PLANAR_CONFIGURATION, SAMPLEFORMAT

Range = tuple[float, float]
"""Values that are mapped to black and white."""
ANY: Range = (0, 1)
"""Range for readers that need only the size and the values of a picture."""
UNSIGNED, SIGNED = (1,), (2,)
"""Values of the tag `SAMPLEFORMAT`."""
ROWS = 256
"""Number of rows scaled at a time: as floats they take eight times the memory."""
SWAPPED = {"B": "L", "L": "B", "N": "B" if np.little_endian else "L"}
"""Byte order → the one with which Pillow reads the low byte of a value instead of the high one."""


class UnclearRange(ValueError):
    """Nothing states which values of a picture are black and white."""


@dataclass(frozen=True)
class Values:
    """Values of a picture, [H, W] or [H, W, 3 or 4], without its transparency.

    white: largest value of their type; 1 for floats. sure: the file itself states that this value is white. inverted:
    the file states that this value is black.
    """

    pixels: npt.NDArray[Any]
    white: float
    sure: bool = False
    inverted: bool = False

    @cached_property
    def measured(self) -> Range:
        return self.pixels.min().item(), self.pixels.max().item()

    @property
    def clear(self) -> bool:
        """True if the file says so, all values are 0, or the largest is in the upper half of the type's range."""
        low, high = self.measured
        return self.sure or (low >= 0 and (high == 0 or self.white / 2 < high <= self.white))

    def range(self, declared: Range | None) -> Range:
        """Return the declared range, or else that of the type; raise UnclearRange if the values may not use it."""
        if declared is None and not self.clear:
            raise UnclearRange(
                f"its values, {in_words(self.measured)}, do not fill their type, 0 to {self.white:.10g}; "
                "nothing says which ones are black and white"
            )
        return declared or (0, self.white)

    def eight_bits(self, black: float, white: float) -> npt.NDArray[np.uint8]:
        """Return the values as uint8, with `black` mapped to 0 and `white` to 255, or the reverse if `inverted`."""
        levels = np.empty(self.pixels.shape, np.uint8)
        for first in range(0, len(levels), ROWS):
            shares = (self.pixels[first : first + ROWS].astype(np.float64) - black) / (white - black)
            levels[first : first + ROWS] = np.rint(np.clip(shares, 0, 1) * 255)
        return 255 - levels if self.inverted else levels


def in_words(values: Sequence[float]) -> str:
    """Return a range as text for messages: `0 to 4095`."""
    return " to ".join(f"{value:.10g}" for value in values)


def first_tile(image: Image.Image) -> Any:
    """Return the first tile that Pillow will decode of an opened image; None if it is already loaded."""
    return next(iter(getattr(image, "tile", ())), None)


def values_of(image: Image.Image, tile: Any = None, data: bytes = b"") -> Values | None:
    """Return the values of a loaded picture with more than 8 bits, else None.

    tile: the first tile, read before loading. data: the whole file, needed for colors, of which Pillow keeps only the
    high bytes. Raises ValueError for unsupported formats.
    """
    tags = getattr(image, "tag_v2", {})
    sign, inverted = tags.get(SAMPLEFORMAT, UNSIGNED), tags.get(PHOTOMETRIC_INTERPRETATION) == 0
    arguments = tile.args if tile else ""
    rawmode = arguments if isinstance(arguments, str) else str(arguments[0])  # how pixels are stored: `RGB;16B`
    if image.format == "PPM" and tile and not isinstance(tile.args, str):
        return _of_ppm(image, tile, data)
    if tags.get(PLANAR_CONFIGURATION) == 2 and max(tags.get(BITSPERSAMPLE, (8,))) > 8 and len(image.getbands()) > 1:
        raise ValueError(
            "colors of more than 8 bits, each in a plane of its own; save the colors of a pixel side by side"
        )
    if rawmode[:-1].endswith(";16") and image.mode in ("RGB", "RGBA", "CMYK"):
        return _of_colors(image, rawmode, data)
    if image.mode == "F":
        pixels = np.asarray(image)
        if not np.isfinite(pixels).all():
            raise ValueError("it has values that are NaN or infinite")
        return Values(pixels, 1, inverted=inverted)
    if image.mode.startswith("I"):
        bits = max(tags.get(BITSPERSAMPLE, (16,)))
        white = (1 << bits - (sign == SIGNED)) - 1
        pixels = np.asarray(image).view(np.uint32) if bits == 32 and sign == UNSIGNED else np.asarray(image)
        return Values(pixels, white, sure=bits == 12, inverted=inverted)
    return Values(np.asarray(image).view(np.int8), 127) if image.mode == "L" and sign == SIGNED else None


def _require_file(data: bytes) -> None:
    if not data:
        raise ValueError("Pillow keeps only 8 bits of each value of this image; give the path of its file instead")


def _of_ppm(image: Image.Image, tile: Any, data: bytes) -> Values | None:
    # Its header states which value is white; 65,535 is in every 16-bit file and says nothing.
    white, bands = tile.args[1], 3 if image.mode == "RGB" else 1
    if image.mode not in ("I", "RGB") or white < 256:
        return None
    _require_file(data)
    count = image.width * image.height * bands
    if tile.codec_name == "ppm_plain":
        pixels = np.array(data[tile.offset :].split()[:count], np.int64)
    else:
        pixels = np.frombuffer(data, ">u2", count, tile.offset)
    shape = (image.height, image.width, bands)[: 3 if bands == 3 else 2]
    return Values(pixels.reshape(shape), white, sure=white < 65535)


def _of_colors(image: Image.Image, rawmode: str, data: bytes) -> Values:
    """Return 16-bit color values: the file is decoded again with swapped bytes, for the low byte of each value."""
    if rawmode.startswith("RGBa"):
        raise ValueError("colors of 16 bits that are multiplied by their transparency; save them as they are")
    _require_file(data)
    gray = rawmode == "LA;16B"
    swapped = "RGBA" if gray else rawmode[:-1] + SWAPPED[rawmode[-1]]
    with Image.open(io.BytesIO(data)) as again:
        for index, tile in enumerate(again.tile):
            arguments = swapped if isinstance(tile.args, str) else (swapped, *(tile.args or ())[1:])
            again.tile[index] = tile._replace(args=arguments)
        low = np.asarray(again)
    if gray:  # four bytes: high and low of gray, high and low of transparency
        high, low = low[..., 0], low[..., 1]
    else:
        colors = slice(3 if image.mode == "RGBA" else None)
        high, low = np.asarray(image)[..., colors], low[..., colors]
    values = high.astype(np.uint16)
    values <<= 8
    values |= low
    return Values(values, 65535)
