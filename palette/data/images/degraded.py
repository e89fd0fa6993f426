"""Degraded images, and the conditions made from them for the network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""RGB image, uint8 [H, W, 3]."""
Mask = npt.NDArray[np.bool_]
"""Mask, bool [H, W], True where the model must generate."""

HOLE = 128
"""Gray level of the hole in displayed images: the middle of the range, 0 in the network's units."""


@dataclass(frozen=True)
class Degraded:
    """Degraded image with the region to restore.

    image: uint8 [H, W, 3], the hole in mid-gray.
    mask: bool [H, W], True where the model must generate; None: everywhere.
    """

    image: Image
    mask: Mask | None


@dataclass(frozen=True)
class Evaluation:
    """Parameters of a test image's degradation; each task reads those it needs.

    mask: bool [H, W]. strength: value of the task's `Strength`. condition: uint8 [H, W, 3], the image's counterpart in
    a paired dataset.
    """

    mask: Mask | None = None
    strength: float | None = None
    condition: Image | None = None


@dataclass(frozen=True)
class Strength:
    """Strength with which a task degrades test images: the config's option `name`, a number from `least` to `most`.

    It is whole if `default` is. about: its meaning, for the reference of options. misfit: (strength, side of the images
    in pixels) → why such images cannot be tested with it, as a clause; empty if they can.
    """

    name: str
    default: float
    least: float
    most: float
    about: str
    misfit: Callable[[float, int], str] = lambda strength, image_size: ""


class Train(Protocol):
    """Degrade a training image with a strength drawn as in the paper. condition: its counterpart in a paired dataset."""

    def __call__(self, image: Image, generator: np.random.Generator, condition: Image | None = None) -> Degraded: ...


@dataclass(frozen=True)
class Task:
    """Task: a file of `palette/data/tasks/` with two functions, `train` and `evaluate`, which depend on nothing else.

    What such a file leaves out has a default: title: `TITLE`, its name in tables. label: `LABEL`, how tables show the
    strength or the mask, `quality {}`. strength: `STRENGTH`, if its evaluation has one. mask: `MASK`, the evaluation mask
    if the config names none.
    """

    train: Train
    evaluate: Callable[[Image, np.random.Generator, Evaluation], Degraded]
    title: str
    label: str = ""
    strength: Strength | None = None
    mask: str | None = None


def cut(image: Image, mask: Mask) -> Degraded:
    """Return the image with mid-gray where `mask` is True."""
    return Degraded(np.where(mask[:, :, None], np.uint8(HOLE), image), mask)


def in_units(image: Image) -> npt.NDArray[np.float32]:
    """Convert uint8 [H, W, 3] to the network's units, float32 [3, H, W] in [-1, 1]."""
    pixels = image.transpose(2, 0, 1).astype(np.float32, order="C")
    pixels /= np.float32(127.5)
    pixels -= np.float32(1)
    return pixels


def condition(degraded: Degraded, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return the network's condition: float32 [3, H, W] in [-1, 1], with N(0, 1) noise in the hole, as in the paper.

    There is no mask channel: the noise marks the hole. Only tasks with a mask draw from `generator`.
    """
    pixels = in_units(degraded.image)
    if degraded.mask is not None:
        pixels[:, degraded.mask] = generator.standard_normal((3, int(degraded.mask.sum())), dtype=np.float32)
    return pixels
