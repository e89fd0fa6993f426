"""Validation loss: that of the averaged weights on held-out images, a random part of the training store."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from palette.errors import ConfigError
from palette.system.randomness import generator
from palette.training.stream import Images, Joined, Stream, collate, micro_batches, moved, thresholds
from palette.training.trainer import Trainer, seed_of

if TYPE_CHECKING:
    from palette.stages.train import TrainSpec


@dataclass(frozen=True)
class Part:
    """The images of a store at `places`, in that order."""

    images: Images
    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:
        return self.images[self.places[index]]


def split(images: Images, count: int) -> tuple[Images, Images | None]:
    """Return the images to train on and `count` held-out images, or None if `count` is 0.

    Raises ConfigError for too many.

    They are drawn at random, because a store may be sorted by class, and are the same for every model. Several datasets
    contribute in proportion to their shares.
    """
    if count == 0:
        return images, None
    if isinstance(images, Joined):
        ends = [round(end * count) for end in thresholds(images.shares)]
        counts = [end - start for start, end in pairwise([0, *ends])]
        split_parts = [split(part, own) for part, own in zip(images.parts, counts, strict=True)]
        held_out = [
            (held, share) for (_, held), share in zip(split_parts, images.shares, strict=True) if held is not None
        ]
        return Joined([part for part, _ in split_parts], images.shares), Joined(*map(list, zip(*held_out, strict=True)))
    remaining = len(images) - count
    if remaining < 1:
        raise ConfigError(
            f"train: `validation_images` {count}, but the training store has {len(images)} images, and at least one must be "
            f"left to train on. Choose {len(images) - 1} or fewer, or 0 for no validation."
        )
    order = generator(0, "held out", len(images)).permutation(len(images))
    return Part(images, np.sort(order[:remaining]).tolist()), Part(images, np.sort(order[remaining:]).tolist())


def fixed_stream(images: Images, spec: "TrainSpec") -> Stream:
    """Return a stream of the images once each, as examples 0 to N-1, always degraded and noised the same way.
    Images are never mirrored. The seed is separate, so that no example shares its noise with a training example."""
    each = Part(images, range(len(images)))
    return Stream(each, spec.mix, seed_of(spec.seed, "validation"), len(images), spec.image_size, False)


class Validation:
    """`validation(trainer)` → mean loss of the averaged weights over the held-out images.

    Each image has its own noise level, and together they are spread as evenly as in a batch. The processes share the
    images and sum their results, so the number of processes changes the loss only by rounding.
    """

    def __init__(self, images: Images, spec: "TrainSpec") -> None:
        self.stream, self.spec = fixed_stream(images, spec), spec

    def due(self, step: int) -> bool:
        """Return whether a validation is due after `step` steps; always True for the last."""
        return step % self.spec.runtime.validate_every == 0 or step == self.spec.steps

    def __call__(self, trainer: Trainer) -> float:
        """Compute the loss. Must be called on all processes."""
        spec, world = self.spec, trainer.world
        levels = self.stream.levels(0)
        mine = range(world.rank, self.stream.batch_size, world.size)
        size = spec.batch_size // (world.size * micro_batches(spec, world.size))
        sums = torch.zeros(2, dtype=torch.float64, device=world.device)  # of losses, of images
        with trainer.averaged_network() as network, ThreadPoolExecutor(spec.runtime.threads, "validation") as pool:
            for first in range(0, len(mine), size):
                items = mine[first : first + size]
                batch = collate(list(pool.map(self.stream.example, items)), levels[list(items)])
                sums[0] += trainer.losses(network, moved(batch, world.device)).double().sum()
                sums[1] += len(items)
        total, count = world.sum(sums).tolist()
        return float(total / count)
