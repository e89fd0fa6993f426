"""Exponential moving averages of the weights, which are used for sampling.

The main one is the paper's, with decay 0.9999. In addition, averages of several widths can be kept (Karras et al. 2024,
"Analyzing and Improving the Training Dynamics of Diffusion Models", section 3): with a power function as their profile
they keep their shape however long the training is, and averages of widths in between can be reconstructed afterwards.
The width σ_rel is the standard deviation of the profile, as a fraction of the training.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.func import functional_call

from palette.errors import ConfigError, DataError


def decay_at(updates: int, decay: float) -> float:
    """Return the decay of the update after `updates` earlier ones.
    Ramped up so that the random start is soon forgotten."""
    return min(decay, (1 + updates) / (10 + updates))


@torch.no_grad()
def update(averages: list[Tensor], weights: list[Tensor], updates: int, decay: float) -> None:
    """Set averages ← d·averages + (1-d)·weights, in place, with d = `decay_at(updates, decay)`.
    Any shapes, pairwise equal."""
    torch._foreach_lerp_(averages, weights, 1 - decay_at(updates, decay))


def exponent(width: float) -> float:
    """Convert σ_rel, in (0, 0.288), to γ ≥ 0 of the profile p(τ) = (γ+1) τ^γ, where τ in [0, 1] is the time.
    Solves σ_rel² = (γ+1) / ((γ+2)² (γ+3)), a cubic, for its largest root."""
    roots = np.roots([1.0, 7.0, 16.0 - width**-2, 12.0 - width**-2])
    return float(roots.real[np.abs(roots.imag) < 1e-9].max())


@torch.no_grad()
def update_power(averages: list[Tensor], weights: list[Tensor], step: int, gamma: float) -> None:
    """Update like `update`, but with d = (1 - 1/step)^(γ+1), where `step` counts from 1.
    The first update overwrites the previous values."""
    fresh = 1.0 if step == 1 else -math.expm1((gamma + 1) * math.log1p(-1 / step))
    torch._foreach_lerp_(averages, weights, fresh)


def blend(widths: Sequence[float], target: float) -> list[float]:
    """Return coefficients, summing to 1, that combine the averages of `widths` into one of width `target`.

    The combined profile is the least-squares fit to the target profile: for profiles a and b,
    ∫ p_a p_b = (γ_a+1)(γ_b+1) / (γ_a+γ_b+1). For 0.07, the error is 5 % of the profile's norm with widths 0.05 and 0.1
    kept, 3 % with 0.2 in addition, 14 % with 0.05 and 0.2 alone: keep widths that are no more than a factor of 2 apart.
    Width 0, the weights themselves, takes part in no blend. Raises ConfigError for a target outside the range of the
    widths.
    """
    if target in widths:
        return [float(index == list(widths).index(target)) for index in range(len(widths))]
    between = sorted({width for width in widths if width > 0})
    if not between or not between[0] < target < between[-1]:
        raise ConfigError(
            f"ema_width {target:g}: the training kept {', '.join(f'{w:g}' for w in widths) or 'none'} (`train.ema_widths`). "
            "Choose one of these, or one between two of them (but for 0); or keep another in a training of its own."
        )
    gammas = np.array([exponent(width) for width in between])
    goal = exponent(target)
    products = np.outer(gammas + 1, gammas + 1) / (gammas[:, None] + gammas + 1)
    wanted = (gammas + 1) * (goal + 1) / (gammas + goal + 1)
    # Least squares with coefficients that sum to 1: the last row and column hold the Lagrange multiplier.
    size = len(between)
    system = np.block([[products, np.ones((size, 1))], [np.ones((1, size)), np.zeros((1, 1))]])
    answer = np.linalg.lstsq(system, np.append(wanted, 1.0))[0]  # not `solve`: two widths may be almost the same
    solution = dict(zip(between, answer[:size].tolist(), strict=True))
    return [solution.pop(width, 0.0) for width in widths]  # popped: a duplicate width counts once


def averaged(file: Path, width: float) -> dict[str, Tensor]:
    """Return name → weight, float32 on the CPU: the average of `width`, from an `averages.safetensors`. Raises
    ConfigError if it cannot be computed from the stored averages, DataError if this is not a file of averages."""
    try:
        with safe_open(file, "pt") as tensors:
            names: dict[str, list[str]] = {}
            for key in tensors.keys():  # noqa: SIM118 (no mapping)
                stored, _, name = key.partition("/")
                names.setdefault(stored, []).append(name)
            widths = sorted(names, key=float)
            shares = dict(zip(widths, blend([float(w) for w in widths], width), strict=True))
            parts = {stored: share for stored, share in shares.items() if share}
            averages: dict[str, Tensor] = {}
            for name in names[next(iter(parts))]:
                summands = [tensors.get_tensor(f"{stored}/{name}") * share for stored, share in parts.items()]
                averages[name] = torch.stack(summands).sum(dim=0)
            return averages
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(
            f"{file}: not the averages of a training ({error}). Delete its folder and train again."
        ) from None


class Averaged(nn.Module):
    """`network`, evaluated with `weights` (name → tensor) instead of its own; neither is copied."""

    def __init__(self, network: nn.Module, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.network, self.weights = network, weights

    def forward(self, x: Tensor, log_snr: Tensor) -> Tensor:
        return functional_call(self.network, self.weights, (x, log_snr))  # type: ignore[no-any-return]
