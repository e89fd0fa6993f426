"""Inpainting: fill a hole of any shape.

Training masks (as in the paper): 60 % free-form strokes by Algorithm 1 of Yu et al. 2019, 40 % one to five
rectangles that cover 10-40 % of the image together. Limits of both: `palette/data/masks/strokes.py`.
"""

import numpy as np

from palette.data.images.degraded import Degraded, Evaluation, Image, cut
from palette.data.masks.strokes import rectangles, strokes

LABEL, MASK = "mask {}", "centre"
FREE_FORM = 0.6
"""Share of the training masks that are strokes."""


def train(image: Image, generator: np.random.Generator, condition: Image | None = None) -> Degraded:
    """Return the image with a random hole: strokes or rectangles."""
    draw = strokes if generator.random() < FREE_FORM else rectangles
    return cut(image, draw(image.shape[0], generator))


def evaluate(image: Image, generator: np.random.Generator, how: Evaluation) -> Degraded:
    assert how.mask is not None
    return cut(image, how.mask)
