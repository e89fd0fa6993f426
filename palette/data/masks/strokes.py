"""Random holes: the strokes of Yu et al. 2019 (Algorithm 1) and rectangles.

The algorithm does not fix its limits and the Palette paper does not state them. These are the ones commonly used with
it at 256 px, here as fractions of the side, so that masks look alike at every size: 1-3 strokes of 4-12 vertices, with
a width of 12-40 px, turns of 2π/5 ± 2π/15 and a mean step of an eighth of the diagonal.

Masks are the same on every machine: all arithmetic is +, -, ×, / and comparison of float64, which IEEE 754 fully
specifies. The sine of a C library may differ in the last bit, and so may NumPy's `uniform` where a compiler fuses its
product and sum.
"""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from palette.data.images.degraded import Mask

VERTICES = (4, 12)
STROKES = (1, 3)
WIDTH = (12 / 256, 40 / 256)
TURN = (2 * math.pi / 5 - 2 * math.pi / 15, 2 * math.pi / 5 + 2 * math.pi / 15)
STEP = math.sqrt(2) / 8
THINNEST = 0.75
"""Smallest radius in pixels: such a disc covers the center of at least one pixel, wherever it is."""

RECTANGLES = (1, 5)
RECTANGLE_AREA = (0.10, 0.40)

Point = tuple[float, float]
"""Point (y, x) in pixels; the center of pixel (i, j) is (i + 0.5, j + 0.5)."""
Window = tuple[slice, slice]


def near_segment(
    size: int, start: Point, end: Point, radius: float
) -> tuple[Window, npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Find the pixels whose centers are at most `radius` from a segment.

    Returns a window of the image and, for each of its pixels, [h, w], whether it is one of them and how far along the
    segment it is, from 0 to 1. A mask has dozens of segments, so the arithmetic uses scalars where possible.
    """
    rows, columns = (_reach(size, a, b, radius) for a, b in zip(start, end, strict=True))
    y = np.arange(rows.start, rows.stop)[:, None] + 0.5 - start[0]
    x = np.arange(columns.start, columns.stop) + 0.5 - start[1]
    dy, dx = end[0] - start[0], end[1] - start[1]
    along = y * dy + x * dx
    along /= max(dy * dy + dx * dx, 1e-12)
    np.minimum(np.maximum(along, 0, out=along), 1, out=along)
    off_y, off_x = y - along * dy, x - along * dx
    return (rows, columns), off_y * off_y + off_x * off_x <= radius * radius, along


def _reach(size: int, a: float, b: float, radius: float) -> slice:
    """Return the rows or columns that a segment from `a` to `b` can touch."""
    return slice(max(0, math.floor(min(a, b) - radius)), min(size, math.ceil(max(a, b) + radius)))


def uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * generator.random()


def cosine_and_sine(angle: float) -> tuple[float, float]:
    """Return cosine and sine from their series, accurate to the last bits for angles of magnitude up to 2."""
    sums, term = [0.0, 0.0], 1.0
    for power in range(26):
        sums[power % 2] += term if power % 4 < 2 else -term
        term = term * angle / (power + 1)
    return sums[0], sums[1]


def stroke(size: int, generator: np.random.Generator) -> Iterator[tuple[Point, Point, float]]:
    """Yield the segments (start, end, radius) of one stroke in pixels, a zigzag (Yu et al. 2019, Algorithm 1)."""
    y, x = (size * part for part in generator.random(2).tolist())
    radius = max(THINNEST, uniform(generator, *WIDTH) * size / 2)
    mirror_y, mirror_x = (generator.integers(0, 2, 2) * 2 - 1).tolist()
    for number in range(generator.integers(VERTICES[0], VERTICES[1], endpoint=True)):
        angle = uniform(generator, *TURN) * (1 if number % 2 else -1)
        length = min(max(STEP + STEP / 2 * generator.standard_normal(), 0.0), 2 * STEP) * size
        along, across = cosine_and_sine(angle)
        end_y = min(max(y + length * along * mirror_y, 0.0), float(size))
        end_x = min(max(x + length * across * mirror_x, 0.0), float(size))
        yield (y, x), (end_y, end_x), radius
        y, x = end_y, end_x


def strokes(size: int, generator: np.random.Generator) -> Mask:
    """Return a mask of one to three strokes, of any area: bool [size, size]."""
    mask = np.zeros((size, size), dtype=np.bool_)
    for _ in range(generator.integers(STROKES[0], STROKES[1], endpoint=True)):
        for start, end, radius in stroke(size, generator):
            window, near, _ = near_segment(size, start, end, radius)
            mask[window] |= near
    return mask


def strokes_covering(size: int, pixels: int, generator: np.random.Generator) -> Mask:
    """Return a mask whose strokes cover exactly `pixels` pixels: bool [size, size]. The last stroke is cut short."""
    assert 0 <= pixels <= size * size
    mask = np.zeros((size, size), dtype=np.bool_)
    left = pixels
    while True:
        for start, end, radius in stroke(size, generator):
            window, near, along = near_segment(size, start, end, radius)
            near &= ~mask[window]
            if (count := int(near.sum())) > left:
                near.ravel()[np.argsort(np.where(near, along, np.inf), axis=None, kind="stable")[left:]] = False
            mask[window] |= near
            left -= min(count, left)
            if left == 0:
                return mask


def rectangle(size: int, area: float, generator: np.random.Generator) -> tuple[slice, slice]:
    """Return a random rectangle of about `area` pixels as slices; its sides differ by a factor of at most four."""
    ratio = math.exp(generator.uniform(-math.log(2), math.log(2)))
    sides = np.clip(np.rint([math.sqrt(area) * ratio, math.sqrt(area) / ratio]), 1, size).astype(int)
    top, left = (int(generator.integers(0, size - side, endpoint=True)) for side in sides)
    return slice(top, top + int(sides[0])), slice(left, left + int(sides[1]))


def rectangles(size: int, generator: np.random.Generator) -> Mask:
    """Return a mask of one to five rectangles that cover 10-40 % of the image together: bool [size, size].

    The number is uniform; so is the target share, which is split at random. If overlaps and rounding leave the bounds,
    the rectangles are drawn again, but not their number.
    """
    count = int(generator.integers(RECTANGLES[0], RECTANGLES[1], endpoint=True))
    while True:
        share = generator.uniform(*RECTANGLE_AREA) * generator.dirichlet(np.full(count, 4.0))
        mask = np.zeros((size, size), dtype=np.bool_)
        for part in share:
            mask[rectangle(size, part * size * size, generator)] = True
        if RECTANGLE_AREA[0] <= mask.mean() <= RECTANGLE_AREA[1]:
            return mask
