"""Uncropping: extend an image beyond its frame.

Training (as in the paper): half of the area is hidden, on one random side or, equally often, on all four. The paper
does not give the four-sided geometry; here a centered square is kept, with side size/√2 rounded to whole pixels (45 of
64, 181 of 256), so that the hidden share is half to within a ring of pixels. Evaluation hides the right half.
"""

import math

import numpy as np

from palette.data.images.degraded import Degraded, Evaluation, Image, Mask, cut

LABEL, MASK = "{} half", "right"


def one_side(size: int, side: int) -> Mask:
    """Return a mask, bool [size, size], True in the half on one side: 0 right, 1 top, 2 left, 3 bottom."""
    mask = np.zeros((size, size), dtype=np.bool_)
    mask[:, size - size // 2 :] = True
    return np.rot90(mask, side).copy()


def four_sides(size: int) -> Mask:
    """Return a mask, bool [size, size], False in a centered square of half the area."""
    side = round(size / math.sqrt(2))
    first = (size - side) // 2
    mask = np.ones((size, size), dtype=np.bool_)
    mask[first : first + side, first : first + side] = False
    return mask


def train(image: Image, generator: np.random.Generator, condition: Image | None = None) -> Degraded:
    """Return the image without one of its halves, or without its border."""
    size = image.shape[0]
    mask = one_side(size, int(generator.integers(4))) if generator.random() < 0.5 else four_sides(size)
    return cut(image, mask)


def evaluate(image: Image, generator: np.random.Generator, how: Evaluation) -> Degraded:
    """Return the image without the region under `how.mask`: the right half, in the paper's tables."""
    assert how.mask is not None
    return cut(image, how.mask)
