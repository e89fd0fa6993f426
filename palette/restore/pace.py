"""Estimated restoration time: one network evaluation is timed, and others are scaled by their FLOP."""

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
"""Minimum seconds of a timed evaluation, if the photos are large enough: a shorter one measures mostly overhead."""
SLOWNESS = 2.0
"""Time per FLOP of attention relative to convolutions: 1.9 and 2.0 were measured on a CPU."""


@dataclass(frozen=True)
class Pace:
    """Speed of a model: `pace(pixels)` → seconds of an evaluation for one sample with that many pixels."""

    model: Model
    pixels: int
    seconds: float
    """Measured time of an evaluation with `pixels` pixels."""

    def __call__(self, pixels: int) -> float:
        return self.seconds * self._work(pixels) / self._work(self.pixels)

    def _work(self, pixels: int) -> float:
        """Return the FLOP, weighting attention, whose cost grows with the square of the number of pixels."""
        network, size = self.model.facts.network, self.model.image_size
        share, attention = pixels / size**2, attention_flops(network, size)
        return share * (flops(network, size) - attention) + SLOWNESS * share**2 * attention


def measure(model: Model, largest: int) -> Pace:
    """Time an evaluation of a square of the model's own size, or of a larger one of up to `largest` pixels.

    The side is doubled until the evaluation takes `LONG_ENOUGH`.
    """
    side = model.image_size
    seconds = _timed(model, side)
    with suppress(DataError):  # out of memory: restoring the photo will report it
        while seconds < LONG_ENOUGH and 4 * side**2 <= largest:
            seconds = _timed(model, 2 * side)
            side *= 2
    return Pace(model, side**2, seconds)


def _timed(model: Model, side: int) -> float:
    """Return the seconds of one evaluation: the faster of two if it is short, because the first does setup work."""
    blank = Canvas(Degraded(np.zeros((side, side, 3), np.uint8), None), side, side, "")
    sampler = Sampler(steps=1) if model.stochastic else None
    times: list[float] = []
    while len(times) < 2 and sum(times) < 1:
        start = time.perf_counter()
        list(model.draw(blank, 1, 0, sampler))
        times.append(time.perf_counter() - start)
    return min(times)
