"""Paired images: whatever turns the conditions of a dataset of pairs into its targets. Nothing is degraded, nothing drawn."""

import numpy as np

from palette.data.images.degraded import Degraded, Evaluation, Image


def train(image: Image, generator: np.random.Generator, condition: Image | None = None) -> Degraded:
    """The image's own condition, all of it to be generated."""
    assert condition is not None
    return Degraded(condition, None)


def evaluate(image: Image, generator: np.random.Generator, how: Evaluation) -> Degraded:
    """The same as in training."""
    return train(image, generator, how.condition)
