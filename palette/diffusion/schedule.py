"""Noise levels. A noised image is y = √γ x0 + √(1-γ) ε, with ε ~ N(0, 1) (equation 2 of the paper).

The same level has three names here: γ, the paper's (`alpha-bar` elsewhere); σ = √((1-γ)/γ), the noise relative to an
unscaled image; and λ = log(γ/(1-γ)) = -2 ln σ, the log-SNR. The code passes λ around: it keeps its precision at both
ends, where γ is almost 0 or almost 1. All tables are float64.
"""

from functools import cache

import torch
from torch import Tensor


def log_snr_of_gamma(gamma: Tensor) -> Tensor:
    """Convert γ in [0, 1] to λ; 0 and 1 give ∓∞."""
    return torch.log(gamma) - torch.log1p(-gamma)


def log_snr_of_sigma(sigma: Tensor) -> Tensor:
    """Convert σ ≥ 0 to λ; 0 gives ∞."""
    return -2 * torch.log(sigma)


def sigma_of(log_snr: Tensor) -> Tensor:
    """Convert λ to σ."""
    return torch.exp(-log_snr / 2)


def signal_and_noise(log_snr: Tensor) -> tuple[Tensor, Tensor]:
    """Convert λ to (√γ, √(1-γ)), the weights of x0 and ε; the squares add up to 1."""
    return torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()


def linear_gammas(first: float, last: float, steps: int) -> Tensor:
    """Return γ_t = Π (1 - β_s) for β rising linearly from `first` to `last`: float64 [steps], γ_1 (cleanest) first."""
    betas = torch.linspace(first, last, steps, dtype=torch.float64)
    return torch.cumprod(1 - betas, dim=0)


@cache
def training_gammas() -> Tensor:
    """Return the paper's training schedule (appendix B): 2000 steps, β from 1e-6 to 0.01, down to γ = 4.4e-5."""
    return linear_gammas(1e-6, 0.01, 2000)


@cache
def inference_gammas() -> Tensor:
    """Return the paper's inference schedule (appendix B): 1000 steps, β from 1e-4 to 0.09, down to γ = 6.6e-21."""
    return linear_gammas(1e-4, 0.09, 1000)
