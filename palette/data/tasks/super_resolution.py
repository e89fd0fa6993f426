"""Super-resolution: the detail that a small image lacks.

The image is made smaller by Pillow's bicubic filter, which is widened so that nothing aliases, and enlarged again by the
same filter: the network is shown an image of the full size, as in SR3 (Saharia et al. 2021). SR3 trains one network for one
factor. Here the factor of a training image is 2, 4 or 8, each as likely, as the other tasks draw their strength; the
factor of the evaluation is given. Palette's paper has no such task.
"""

import numpy as np
from PIL import Image as Pictures

from palette.data.images.degraded import Degraded, Evaluation, Image

FACTORS = (2, 4, 8)
"""Of training."""


def coarsen(image: Image, factor: int) -> Image:
    """`image` made smaller by `factor` and enlarged again: uint8 [H, W, 3] → uint8 [H, W, 3].

    Sides that `factor` does not divide are rounded, to at least one pixel.
    """
    height, width = image.shape[:2]
    smaller = (max(1, round(width / factor)), max(1, round(height / factor)))
    small = Pictures.fromarray(image).resize(smaller, Pictures.Resampling.BICUBIC)
    return np.asarray(small.resize((width, height), Pictures.Resampling.BICUBIC))


def train(image: Image, generator: np.random.Generator, condition: Image | None = None) -> Degraded:
    """The image without the detail of a random factor, all of it to be generated."""
    return Degraded(coarsen(image, FACTORS[int(generator.integers(len(FACTORS)))]), None)


def evaluate(image: Image, generator: np.random.Generator, how: Evaluation) -> Degraded:
    """The image without the detail of the given factor."""
    assert how.factor is not None
    return Degraded(coarsen(image, how.factor), None)
