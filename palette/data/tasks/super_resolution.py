"""Super-resolution: restore the detail that a small image lacks.

The image is downscaled by Pillow's bicubic filter, which is widened so that nothing aliases, and upscaled again by the
same filter: the condition has the full size, as in SR3 (Saharia et al. 2021). SR3 trains one network per factor. Here
the factor of a training image is 2, 4 or 8 with equal probability, because the other tasks draw their strength too; the
factor of the evaluation is given. Palette's paper has no such task.
"""

import numpy as np
from PIL import Image as Pictures

from palette.data.images.degraded import Degraded, Evaluation, Image, Strength

FACTORS = (2, 4, 8)
"""Training factors."""


def indivisible(factor: float, image_size: int) -> str:
    return f"{factor} does not divide the image size {image_size}" if image_size % factor else ""


LABEL = "× {}"
STRENGTH = Strength(
    "factor", 4, 2, 16,
    "Evaluation factor of super-resolution; `image_size` must be a multiple of it. Default: 4.",
    indivisible,
)  # fmt: skip


def coarsen(image: Image, factor: int) -> Image:
    """Return `image` downscaled by `factor` and upscaled again: uint8 [H, W, 3] → uint8 [H, W, 3]."""
    height, width = image.shape[:2]
    smaller = (max(1, round(width / factor)), max(1, round(height / factor)))
    small = Pictures.fromarray(image).resize(smaller, Pictures.Resampling.BICUBIC)
    return np.asarray(small.resize((width, height), Pictures.Resampling.BICUBIC))


def train(image: Image, generator: np.random.Generator, condition: Image | None = None) -> Degraded:
    """Return the image without the detail lost at a random factor, with every pixel to be generated."""
    return Degraded(coarsen(image, FACTORS[int(generator.integers(len(FACTORS)))]), None)


def evaluate(image: Image, generator: np.random.Generator, how: Evaluation) -> Degraded:
    """Return the image without the detail lost at the given factor, with every pixel to be generated."""
    assert how.strength is not None
    return Degraded(coarsen(image, int(how.strength)), None)
