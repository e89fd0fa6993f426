"""Colorization: color from a grayscale image.

The paper does not state the gray formula. Here it is Rec. 601 luma of the gamma-encoded values, as in JPEG, replicated
to three channels, so that one network serves every task.
"""

import numpy as np

from palette.data.images.degraded import Degraded, Evaluation, Image

WEIGHTS = np.array([299, 587, 114], dtype=np.float32)
"""Weights of red, green and blue, in thousandths."""


def luma(image: Image) -> Image:
    """Return the rounded luma Y = 0.299 R + 0.587 G + 0.114 B: uint8 [H, W, 3] → uint8 [H, W]."""
    weighted = (
        image.astype(np.float32) @ WEIGHTS
    )  # integers below 2²⁴: exact, and several times faster than as integers
    return ((weighted + 500) / 1000).astype(np.uint8)


def train(image: Image, generator: np.random.Generator, condition: Image | None = None) -> Degraded:
    """Return the grayscale image, with every pixel to be generated. Nothing is drawn from the generator."""
    gray = luma(image)
    return Degraded(np.dstack([gray, gray, gray]), None)


def evaluate(image: Image, generator: np.random.Generator, how: Evaluation) -> Degraded:
    return train(image, generator)
