"""Figures of images in rows and columns, with labels above the columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from palette.system.files import replacing

Pixels = npt.NDArray[np.uint8]

CELL = 128
"""Minimum side of an image in a figure in pixels: smaller images are enlarged by an integer, each pixel a square."""
GAP, LINE, FONT = 6, 18, 14
INK, SOFT, PAPER = (20, 24, 31), (92, 99, 112), (255, 255, 255)


@dataclass(frozen=True)
class Panel:
    """A column: its two-line label, and one image uint8 [H,W,3] per row (None leaves the cell empty)."""

    label: str
    detail: str
    images: Sequence[Pixels | None]
    apart: bool = False
    """True if a wider gap separates it from the previous column."""


def enlarge(pixels: Pixels) -> Pixels:
    """Repeat each pixel so that the image is at least CELL pixels wide."""
    factor = -(-CELL // pixels.shape[1])
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def compose(panels: Sequence[Panel], rows: Sequence[str] = ()) -> Image.Image:
    """Arrange all panels side by side in one image; `rows` are labels left of the rows, if any."""
    cells = [[None if image is None else enlarge(image) for image in panel.images] for panel in panels]
    height, width, _ = next(cell for column in cells for cell in column if cell is not None).shape
    font = ImageFont.load_default(FONT)
    top = GAP + LINE * (2 if any(panel.detail for panel in panels) else 1)
    lefts = _lefts(panels, width, GAP + (round(max(font.getlength(row) for row in rows)) + 2 * GAP if rows else 0))
    tops = [top + number * (height + GAP) for number in range(max(len(column) for column in cells))]
    picture = Image.new("RGB", (lefts[-1] + width + GAP, tops[-1] + height + GAP), PAPER)
    draw = ImageDraw.Draw(picture)
    for y, row in zip(tops, rows, strict=False):
        draw.text((GAP, y + height // 2), row, INK, font, anchor="lm")
    for x, panel, images in zip(lefts, panels, cells, strict=True):
        draw.text((x, GAP // 2), shorten(panel.label, font, width), INK, font)
        draw.text((x, GAP // 2 + LINE), shorten(panel.detail, font, width), SOFT, font)
        for y, cell in zip(tops, images, strict=True):
            if cell is not None:
                picture.paste(Image.fromarray(cell), (x, y))
    return picture


def stack(pictures: Sequence[Image.Image], titles: Sequence[str]) -> Image.Image:
    """Stack images vertically, each under its title."""
    band, font = 2 * GAP + LINE, ImageFont.load_default(FONT + 1)
    width = max(picture.width for picture in pictures)
    stacked = Image.new("RGB", (width, sum(picture.height + band for picture in pictures)), PAPER)
    draw, top = ImageDraw.Draw(stacked), 0
    for picture, title in zip(pictures, titles, strict=True):
        draw.text((GAP, top + GAP), shorten(title, font, width - 2 * GAP), INK, font)
        stacked.paste(picture, (0, top + band))
        top += picture.height + band
    return stacked


def _lefts(panels: Sequence[Panel], width: int, left: int) -> list[int]:
    """Return the left edge of each column in pixels."""
    edges: list[int] = []
    for panel in panels:
        left += 3 * GAP if panel.apart and edges else 0
        edges.append(left)
        left += width + GAP
    return edges


def shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Truncate the text with an ellipsis if it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG atomically."""
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)
