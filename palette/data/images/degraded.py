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
"""Gray of the hole in pictures for people: the middle of the range, 0 in the network's units."""


@dataclass(frozen=True)
class Degraded:
    """An image and where it must be restored.

    image: uint8 [H, W, 3], the hole in mid-gray.
    mask: bool [H, W], True where the model must generate; None: everywhere.
    """

    image: Image
    mask: Mask | None


@dataclass(frozen=True)
class Evaluation:
    """How a test image is to be degraded; each task reads what concerns it.

    mask: bool [H, W]. quality: of JPEG, 1 to 95. factor: of super-resolution, 2 to 16.
    condition: uint8 [H, W, 3], the image's partner in a dataset of pairs.
    """

    mask: Mask | None = None
    quality: int | None = None
    factor: int | None = None
    condition: Image | None = None


class TaskModule(Protocol):
    """What a file in `palette/data/tasks/` offers. Both functions depend on their arguments alone."""

    def train(self, image: Image, generator: np.random.Generator, condition: Image | None = None) -> Degraded:
        """Degrade a training image, with a strength drawn as in the paper. condition: its partner, where it has one."""

    def evaluate(self, image: Image, generator: np.random.Generator, how: Evaluation) -> Degraded:
        """Degrade a test image as `how` says."""


def cut(image: Image, mask: Mask) -> Degraded:
    """The image with mid-gray where `mask` is True."""
    return Degraded(np.where(mask[:, :, None], np.uint8(HOLE), image), mask)


def in_units(image: Image) -> npt.NDArray[np.float32]:
    """uint8 [H, W, 3] → the network's units, float32 [3, H, W] in [-1, 1]."""
    pixels = image.transpose(2, 0, 1).astype(np.float32, order="C")
    pixels /= np.float32(127.5)
    pixels -= np.float32(1)
    return pixels


def condition(degraded: Degraded, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """What the network is shown: float32 [3, H, W] in [-1, 1], with N(0, 1) noise in the hole, as in the paper.

    There is no mask channel: where the noise is, there is the hole. Only tasks with a mask draw from `generator`.
    """
    pixels = in_units(degraded.image)
    if degraded.mask is not None:
        pixels[:, degraded.mask] = generator.standard_normal((3, int(degraded.mask.sum())), dtype=np.float32)
    return pixels
