"""Exponential moving average of the weights: what is sampled from (the paper: decay 0.9999)."""

from collections.abc import Iterable

import torch
from torch import Tensor


def decay_at(updates: int, decay: float) -> float:
    """Decay of the update after `updates` earlier ones: ramped up, so that the random start is soon forgotten."""
    return min(decay, (1 + updates) / (10 + updates))


@torch.no_grad()
def update(averages: Iterable[Tensor], weights: Iterable[Tensor], updates: int, decay: float) -> None:
    """averages ← d·averages + (1-d)·weights, in place, with d = `decay_at(updates, decay)`; any shapes, pairwise equal."""
    torch._foreach_lerp_(list(averages), list(weights), 1 - decay_at(updates, decay))
