"""A degraded image, and what the network is shown of it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""uint8 [H, W, 3], RGB."""
Mask = npt.NDArray[np.bool_]
"""bool [H, W], True where the model must generate."""

HOLE = 128
"""Grey of the hole in pictures for people: the middle of the range, 0 in the network's units."""


@dataclass(frozen=True)
class Degraded:
    """An image and where it must be restored.

    image: uint8 [H, W, 3], the hole in mid-grey.
    mask: bool [H, W], True where the model must generate; None: everywhere.
    """

    image: Image
    mask: Mask | None


class TaskModule(Protocol):
    """What a file in `palette/data/tasks/` offers."""

    def train(self, image: Image, generator: np.random.Generator) -> Degraded:
        """Degrade a training image, with a strength drawn as in the paper."""

    def evaluate(
        self, image: Image, generator: np.random.Generator, mask: Mask | None, quality: int | None
    ) -> Degraded:
        """Degrade a test image with the given mask or quality."""


def cut(image: Image, mask: Mask) -> Degraded:
    """The image with mid-grey where `mask` is True."""
    return Degraded(np.where(mask[:, :, None], np.uint8(HOLE), image), mask)


def condition(degraded: Degraded, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """What the network is shown: float32 [3, H, W] in [-1, 1], with N(0, 1) noise in the hole, as in the paper.

    There is no mask channel: where the noise is, there is the hole. Only tasks with a mask draw from `generator`.
    """
    planes = np.ascontiguousarray(degraded.image.transpose(2, 0, 1), dtype=np.float32)
    pixels = planes / np.float32(127.5) - np.float32(1)
    if degraded.mask is None:
        return pixels
    noise = generator.standard_normal(pixels.shape, dtype=np.float32)
    return np.where(degraded.mask, noise, pixels)
