"""Estimate of the time that photographs take: one evaluation is timed, and the others follow from their FLOP."""

import time
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from palette.config.sampling import Sampler
from palette.data.images.degraded import Degraded
from palette.errors import DataError
from palette.model.flops import attention_flops, flops
from palette.restore.canvas import Canvas
from palette.restore.model import Model

LONG_ENOUGH = 0.5
"""Seconds that a timed evaluation takes, if the photographs are large enough: a shorter one says more of its start than of its FLOP."""
SLOWNESS = 2.0
"""The FLOP of attention take so many times as long as those of convolutions: 1.9 and 2.0 were measured on a CPU."""


@dataclass(frozen=True)
class Pace:
    """`pace(pixels)` → seconds of an evaluation for one sample of so many pixels.

    seconds: what one of `pixels` pixels took.
    """

    model: Model
    pixels: int
    seconds: float

    def __call__(self, pixels: int) -> float:
        return self.seconds * self._work(pixels) / self._work(self.pixels)

    def _work(self, pixels: int) -> float:
        """FLOP, those of attention weighted. Its cost grows with the square of the number of pixels."""
        network, size = self.model.facts.network, self.model.image_size
        share, attention = pixels / size**2, attention_flops(network, size)
        return share * (flops(network, size) - attention) + SLOWNESS * share**2 * attention


def measure(model: Model, largest: int) -> Pace:
    """Time an evaluation of a square of the model's own size, or of one larger that takes `LONG_ENOUGH`, up to `largest` pixels."""
    side = model.image_size
    seconds = _timed(model, side)
    with suppress(DataError):  # too large for the memory: the photo itself will say so
        while seconds < LONG_ENOUGH and 4 * side**2 <= largest:
            seconds = _timed(model, 2 * side)
            side *= 2
    return Pace(model, side**2, seconds)


def _timed(model: Model, side: int) -> float:
    """Seconds of one evaluation. The first one of a size prepares what the next ones use; a long one is not repeated for that."""
    blank = Canvas(Degraded(np.zeros((side, side, 3), np.uint8), None), side, side, "")
    sampler = Sampler(steps=1) if model.stochastic else None
    taken: list[float] = []
    while len(taken) < 2 and sum(taken) < 1:
        began = time.perf_counter()
        list(model.draw(blank, 1, 0, sampler))
        taken.append(time.perf_counter() - began)
    return min(taken)
