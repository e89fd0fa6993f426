"""Evaluation masks: one fixed mask for each test image, the same for every model.

The paper's free-form masks exist only in its release, which `palette/data/masks/supplied.py` reads; these follow the
same algorithm and the same area bounds.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from palette.config.tasks import MaskKind
from palette.data.images.degraded import Mask
from palette.data.masks.strokes import strokes_covering
from palette.data.tasks.uncropping import one_side
from palette.errors import ConfigError


def free_form(low: float, high: float, size: int, generator: np.random.Generator) -> Mask:
    """Return strokes that cover a share of the image drawn uniformly from `low` to `high`: bool [size, size]."""
    fewest, most = math.ceil(low * size**2 - 1e-9), math.floor(high * size**2 + 1e-9)
    if size < 1 or fewest > most:
        raise ConfigError(
            f"no mask covers {low:.0%} to {high:.0%} of an image of {size} px: raise `image_size` to 8 or more"
        )
    return strokes_covering(size, int(generator.integers(fewest, most, endpoint=True)), generator)


def center(size: int, generator: np.random.Generator) -> Mask:
    """Return a centered square of half the side, 128 of 256 px, a quarter of the area.

    Nothing is drawn from the generator.
    """
    side = size // 2
    first = (size - side) // 2
    mask = np.zeros((size, size), dtype=np.bool_)
    mask[first : first + side, first : first + side] = True
    return mask


def right(size: int, generator: np.random.Generator) -> Mask:
    """Return the right half. Nothing is drawn from the generator."""
    return one_side(size, 0)


BINS = {"free-form-10-20": (0.10, 0.20), "free-form-20-30": (0.20, 0.30), "free-form-30-40": (0.30, 0.40)}
"""Kind → bounds of its area, as shares of the image."""
MASKS: dict[MaskKind, Callable[[int, np.random.Generator], Mask]] = {
    "free-form-10-20": partial(free_form, *BINS["free-form-10-20"]),
    "free-form-20-30": partial(free_form, *BINS["free-form-20-30"]),
    "free-form-30-40": partial(free_form, *BINS["free-form-30-40"]),
    "center": center,
    "right": right,
}
"""Kind → function of the side in pixels and a generator; True where the model must generate."""
