"""Samplers: from noise to an image in a number of steps. To add one, write a function here and a row in `SAMPLERS`.

All have one signature, `(denoise, y, log_snrs, noise) -> x0`:

    denoise(y, λ)  estimate of x0, float [B, 3, H, W], from y = √γ x0 + √(1-γ) ε
    y              the state at log_snrs[0], float [B, 3, H, W]: standard normal noise
    log_snrs       λ of each step, float64 [N+1], rising; the last is ∞: no noise
    noise(i)       new N(0, 1) noise for step i, shaped like y; called in order, and only where the step adds noise
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from palette.config.sampling import Sampler as Options
from palette.diffusion.denoiser import Denoise
from palette.diffusion.objective import level_range
from palette.diffusion.schedule import inference_gammas, log_snr_of_gamma, log_snr_of_sigma, sigma_of, signal_and_noise

Noise = Callable[[int], Tensor]
Sampler = Callable[[Denoise, Tensor, Tensor, Noise], Tensor]


def paper_steps() -> Tensor:
    """Return the paper's inference schedule as λ, float64 [1001]."""
    return torch.cat([log_snr_of_gamma(inference_gammas()).flip(0), torch.tensor([math.inf], dtype=torch.float64)])


def even_steps(count: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """Return λ of `count` steps from σ_max to σ_min, then ∞: float64 [count + 1].
    The steps are even in σ^(1/ρ) (Karras et al. 2022, eq. 5)."""
    ramp = torch.linspace(0, 1, count, dtype=torch.float64)
    sigma: Tensor = (sigma_max ** (1 / rho) + ramp * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    return torch.cat([log_snr_of_sigma(sigma), torch.tensor([math.inf], dtype=torch.float64)])


def steps_for(options: Options, objective: str) -> Tensor:
    """Return the steps of a sampler: float64 [steps + 1].

    `ancestral` with 1000 steps uses the paper's schedule. All others stay within the levels that the network was
    trained on, from the noisiest down to σ = 0.02: two or three of the 255 steps between black and white.
    """
    if options.kind == "ancestral" and options.steps == len(inference_gammas()):
        return paper_steps()
    lowest, highest = level_range(objective)
    return even_steps(options.steps, max(0.02, math.exp(-highest / 2)), math.exp(-lowest / 2))


def scalars(log_snr: Tensor) -> tuple[float, float]:
    """Convert λ, float64 scalar, to (√γ, √(1-γ))."""
    signal, noise = signal_and_noise(log_snr)
    return signal.item(), noise.item()


def ancestral(denoise: Denoise, y: Tensor, log_snrs: Tensor, noise: Noise) -> Tensor:
    """Sample by Algorithm 2 of the paper: y' = (y - (1-α)/√(1-γ) ε)/√α + √(1-α) z, with α = γ/γ'.

    z = 0 in the last step. ε is computed from the clipped x0. The variance 1-α is the paper's, larger than the
    posterior's; it suits schedules as fine as the paper's. With few steps use `ddim` with `eta: 1`, which has the
    posterior's.
    """
    for i in range(len(log_snrs) - 1):
        signal, strength = scalars(log_snrs[i])
        alpha = (torch.sigmoid(log_snrs[i]) / torch.sigmoid(log_snrs[i + 1])).item()
        epsilon = (y - signal * denoise(y, log_snrs[i].item())) / strength
        y = (y - (1 - alpha) / strength * epsilon) / math.sqrt(alpha)
        if i < len(log_snrs) - 2:
            y = y + math.sqrt(1 - alpha) * noise(i)
    return y


def ddim(denoise: Denoise, y: Tensor, log_snrs: Tensor, noise: Noise, eta: float = 0.0) -> Tensor:
    """Sample by equation 12 of Song et al. 2021.
    eta 0 is deterministic; 1 is ancestral sampling with the posterior's variance."""
    for i in range(len(log_snrs) - 1):
        (signal, strength), (next_signal, next_strength) = scalars(log_snrs[i]), scalars(log_snrs[i + 1])
        x0 = denoise(y, log_snrs[i].item())
        epsilon = (y - signal * x0) / strength
        beta = 1 - (signal / next_signal) ** 2
        fresh = eta * next_strength / strength * math.sqrt(beta)
        y = next_signal * x0 + math.sqrt(max(next_strength**2 - fresh**2, 0.0)) * epsilon
        if fresh > 0:
            y = y + fresh * noise(i)
    return y


def multistep(denoise: Denoise, y: Tensor, log_snrs: Tensor, noise: Noise, stochastic: bool = False) -> Tensor:
    """Sample by DPM-Solver++(2M) (Lu et al. 2022, Algorithm 2), or SDE-DPM-Solver++(2M) of that paper if `stochastic`.
    h is the step in ln(√γ/√(1-γ)) = λ/2. The first step and the last, where h is infinite, are first order."""
    before, h_before = y, 0.0
    for i in range(len(log_snrs) - 1):
        (_, strength), (next_signal, next_strength) = scalars(log_snrs[i]), scalars(log_snrs[i + 1])
        h = ((log_snrs[i + 1] - log_snrs[i]) / 2).item()
        x0 = denoise(y, log_snrs[i].item())
        first_order = i == 0 or math.isinf(h)
        ahead = x0 if first_order else x0 + (x0 - before) * (h / h_before / 2)
        decay = math.exp(-2 * h if stochastic else -h)
        faded = next_strength / strength * (math.exp(-h) if stochastic else 1.0)
        y = faded * y + next_signal * (1 - decay) * ahead
        if stochastic and next_strength > 0:
            y = y + next_strength * math.sqrt(1 - decay) * noise(i)
        before, h_before = x0, h
    return y


def heun(denoise: Denoise, y: Tensor, log_snrs: Tensor, noise: Noise) -> Tensor:
    """Sample by Algorithm 1 of Karras et al. 2022 without churn: Heun's method, dx/dσ = (x - x0_hat)/σ, with x = y/√γ.
    Two evaluations per step; the last step, down to σ = 0, is an Euler step with one."""
    x = y / scalars(log_snrs[0])[0]
    sigmas: list[float] = sigma_of(log_snrs).tolist()
    for i, (sigma, target) in enumerate(pairwise(sigmas)):
        x0 = denoise(x * scalars(log_snrs[i])[0], log_snrs[i].item())
        if target == 0:
            return x0  # equals Euler's step, without its rounding
        slope = (x - x0) / sigma
        euler = x + (target - sigma) * slope
        slope_there = (euler - denoise(euler * scalars(log_snrs[i + 1])[0], log_snrs[i + 1].item())) / target
        x = x + (target - sigma) * (slope + slope_there) / 2
    return x


SAMPLERS: dict[str, Sampler] = {
    "ancestral": ancestral,
    "ddim": ddim,
    "dpm++2m": multistep,
    "dpm++2m-sde": partial(multistep, stochastic=True),
    "heun": heun,
}
TWICE: tuple[str, ...] = ("heun",)
"""Samplers that evaluate the network twice in each step but the last; the others do so once."""


def sampler_for(options: Options) -> Sampler:
    """Return the sampler `options.kind`, with its own option filled in."""
    return partial(ddim, eta=options.eta) if options.kind == "ddim" else SAMPLERS[options.kind]
