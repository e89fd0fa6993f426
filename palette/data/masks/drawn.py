"""Evaluation masks: one fixed mask for each test image, the same for every model.

The paper's free-form masks exist only in its release, which `palette/data/masks/supplied.py` reads; these follow the
same algorithm and the same area bounds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from palette.data.images.degraded import Mask
from palette.data.masks.strokes import strokes_covering
from palette.data.tasks.uncropping import one_side
from palette.errors import ConfigError


@dataclass(frozen=True)
class DrawnMask:
    """Kind of evaluation mask: a function (side in pixels, generator) → mask, True where the model must generate.

    task: the one that is tested with it. area: bounds as shares of the image; users may supply masks of their own for
    such a kind. released: its name in the paper's `imagenet_freeform_masks.npz`.
    """

    draw: Callable[[int, np.random.Generator], Mask]
    task: str = "inpainting"
    area: tuple[float, float] | None = None
    released: str = ""

    def __call__(self, size: int, generator: np.random.Generator) -> Mask:
        return self.draw(size, generator)


def free_form(low: float, high: float) -> DrawnMask:
    """Return the kind whose strokes cover a share of the image drawn uniformly from `low` to `high`."""

    def draw(size: int, generator: np.random.Generator) -> Mask:
        fewest, most = math.ceil(low * size**2 - 1e-9), math.floor(high * size**2 + 1e-9)
        if size < 1 or fewest > most:
            raise ConfigError(
                f"no mask covers {low:.0%} to {high:.0%} of an image of {size} px: raise `image_size` to 8 or more"
            )
        return strokes_covering(size, int(generator.integers(fewest, most, endpoint=True)), generator)

    return DrawnMask(draw, area=(low, high), released=f"{low:.0%}-{high:.0%} freeform".replace("%", "", 1))


def center(size: int, generator: np.random.Generator) -> Mask:
    """Return a centered square of half the side, 128 of 256 px, a quarter of the area."""
    side = size // 2
    first = (size - side) // 2
    mask = np.zeros((size, size), dtype=np.bool_)
    mask[first : first + side, first : first + side] = True
    return mask


def right(size: int, generator: np.random.Generator) -> Mask:
    return one_side(size, 0)


MASKS = {
    "free-form-10-20": free_form(0.10, 0.20),
    "free-form-20-30": free_form(0.20, 0.30),
    "free-form-30-40": free_form(0.30, 0.40),
    "centre": DrawnMask(center),
    "right": DrawnMask(right, task="uncropping"),
}
"""Name in the config → kind of mask."""
