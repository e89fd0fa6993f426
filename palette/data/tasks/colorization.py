"""Colorization: color from a grayscale image.

The paper does not state the gray formula. Here it is Rec. 601 luma of the gamma-encoded values, as in JPEG, replicated
to three channels, so that one network serves every task.
"""

import numpy as np

from palette.data.degraded import Degraded, Image, Mask


def luma(image: Image) -> Image:
    """Y = 0.299 R + 0.587 G + 0.114 B, rounded: uint8 [H, W, 3] → uint8 [H, W]."""
    weighted = image.astype(np.uint32) @ np.array([299, 587, 114], dtype=np.uint32)
    return ((weighted + 500) // 1000).astype(np.uint8)


def train(image: Image, generator: np.random.Generator) -> Degraded:
    """The grayscale image, all of it to be generated. Draws nothing."""
    return Degraded(np.repeat(luma(image)[:, :, None], 3, axis=2), None)


def evaluate(image: Image, generator: np.random.Generator, mask: Mask | None, quality: int | None) -> Degraded:
    """The same as in training."""
    return train(image, generator)
