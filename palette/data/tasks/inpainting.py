"""Inpainting: fill a hole of any shape.

Training masks (as in the paper): 60 % free-form strokes by Algorithm 1 of Yu et al. 2019, 40 % one to five
rectangles that cover 10-40 % of the image together. Limits of both: `palette/data/strokes.py`.
"""

import numpy as np

from palette.data.degraded import Degraded, Image, Mask, cut
from palette.data.strokes import rectangles, strokes

FREE_FORM = 0.6
"""Share of the training masks that are strokes."""


def train(image: Image, generator: np.random.Generator) -> Degraded:
    """The image with a random hole: strokes or rectangles."""
    draw = strokes if generator.random() < FREE_FORM else rectangles
    return cut(image, draw(image.shape[0], generator))


def evaluate(image: Image, generator: np.random.Generator, mask: Mask | None, quality: int | None) -> Degraded:
    """The image with the hole `mask`."""
    assert mask is not None
    return cut(image, mask)
