"""Samplers on problems with a known solution: a normal distribution, a mixture of two, the paper's equations."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from palette.config.sampling import Sampler as Options
from palette.diffusion import schedule
from palette.diffusion.objective import OBJECTIVES, level_range
from palette.diffusion.samplers import SAMPLERS, even_steps, paper_steps, sampler_for, steps_for

MEAN, STD = 0.3, 0.2
STOCHASTIC = {"ancestral", "dpm++2m-sde"}


def normal_denoiser(y: Tensor, log_snr: float) -> Tensor:
    """E[x0 | y] for x0 ~ N(MEAN, STD²)."""
    signal, noise = (s.item() for s in schedule.signal_and_noise(torch.tensor(log_snr, dtype=torch.float64)))
    gain = STD**2 * signal / (STD**2 * signal**2 + noise**2)
    return MEAN + gain * (y - signal * MEAN)


def mixture_denoiser(y: Tensor, log_snr: float, mode: float = 0.6, std: float = 0.1) -> Tensor:
    """E[x0 | y] for x0 ~ N(±mode, std²), half each: two sharp modes, as edges and colors have."""
    signal, noise = (s.item() for s in schedule.signal_and_noise(torch.tensor(log_snr, dtype=torch.float64)))
    variance = std**2 * signal**2 + noise**2
    side = torch.tanh(signal * mode * y / variance)
    gain = std**2 * signal / variance
    return gain * y + (1 - gain * signal) * mode * side


def exact_flow(y: Tensor, start: float, end: float, mode: float = 0.6, std: float = 0.1) -> Tensor:
    """The mixture's probability flow: in one dimension, each point keeps its quantile. Found by bisection."""

    def share_below(value: Tensor, log_snr: float) -> Tensor:
        signal, noise = (s.item() for s in schedule.signal_and_noise(torch.tensor(log_snr, dtype=torch.float64)))
        width = math.sqrt(std**2 * signal**2 + noise**2)
        return sum(torch.special.ndtr((value - centre) / width) for centre in (-signal * mode, signal * mode)) / 2

    wanted, low, high = share_below(y, start), torch.full_like(y, -5), torch.full_like(y, 5)
    for _ in range(60):
        middle = (low + high) / 2
        below = share_below(middle, end) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return low


def halved(steps: Tensor, noise: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Every second level, and the noise of the same Brownian path for them.

    Over a step, the reverse process multiplies what noise it has by σ'/σ e^-h and adds noise of deviation σ' √(1 - e^-2h), with
    σ = √(1-γ) and h half the step in λ.
    """
    strengths, widths = torch.sigmoid(-steps).sqrt(), steps.diff() / 2
    added = strengths[1:] * torch.sqrt(1 - torch.exp(-2 * widths))
    joined = []
    for i in range(0, len(noise), 2):
        first = added[i] * strengths[i + 2] / strengths[i + 1] * torch.exp(-widths[i + 1])
        joined.append((first * noise[i] + added[i + 1] * noise[i + 1]) / torch.hypot(first, added[i + 1]))
    return steps[::2], joined


def noise_source(shape: torch.Size, seed: int = 1) -> Callable[[int], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda _: torch.randn(shape, generator=generator, dtype=torch.float64)


def no_noise(_: int) -> Tensor:
    raise AssertionError("asked for noise")


def start(count: int = 20_000) -> Tensor:
    """Standard normal noise in even quantiles, shuffled: its own deviation from the distribution hides nothing."""
    quantiles = torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)
    return quantiles[torch.randperm(count, generator=torch.Generator().manual_seed(0))][None, None, None]


def distance(samples: Tensor, mode: float = 0.6, std: float = 0.1) -> float:
    """Wasserstein-1 distance to the mixture."""
    count = samples.numel()
    levels = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    grid = torch.linspace(-2, 2, 20_001, dtype=torch.float64)
    cdf = (torch.special.ndtr((grid + mode) / std) + torch.special.ndtr((grid - mode) / std)) / 2
    quantiles = torch.from_numpy(np.interp(levels.numpy(), cdf.numpy(), grid.numpy()))
    return (samples.flatten().sort().values - quantiles).abs().mean().item()


@pytest.mark.parametrize(("kind", "order"), [("ddim", 1), ("dpm++2m", 2), ("heun", 2)])
def test_order_of_the_deterministic_samplers(kind: str, order: int) -> None:
    """Twice the steps divide the distance to the mixture's exact flow by 2^order."""
    y = torch.linspace(-2, 2, 50, dtype=torch.float64)[None, None, None]
    first, last = -4.0, 5.0
    exact = exact_flow(y, first, last)
    signal = schedule.signal_and_noise(torch.tensor(last, dtype=torch.float64))[0] if kind == "heun" else 1.0
    errors = []
    for count in (40, 80, 160):
        steps = torch.linspace(first, last, count + 1, dtype=torch.float64)
        found = sampler_for(Options(kind=kind, steps=count))(mixture_denoiser, y, steps, no_noise) * signal
        errors.append((found - exact).abs().max().item())
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders == pytest.approx([order, order], abs=0.2)


NOISY = [
    Options(kind="ancestral", steps=1),
    Options(kind="ddim", steps=1, eta=1.0),
    Options(kind="dpm++2m-sde", steps=1),
]


@pytest.mark.parametrize("options", NOISY, ids=lambda o: o.kind)
def test_strong_order_of_the_stochastic_samplers(options: Options) -> None:
    """On one Brownian path, twice the steps halve the change that doubling them again makes: order 1, on the mixture."""
    steps, shape = torch.linspace(-4.0, 3.0, 161, dtype=torch.float64), (1, 1, 1, 20_000)
    random = torch.Generator().manual_seed(0)
    noise = [torch.randn(shape, generator=random, dtype=torch.float64) for _ in range(160)]
    y, found = start(), []
    for _ in range(4):
        found.append(sampler_for(options)(mixture_denoiser, y, steps, lambda i, noise=noise: noise[i]))
        if options.kind == "ancestral":  # its last step adds none, as it is meant to end without noise
            alpha = torch.sigmoid(steps[-2]) / torch.sigmoid(steps[-1])
            found[-1] = found[-1] + torch.sqrt(1 - alpha) * noise[-1]
        steps, noise = halved(steps, noise)
    changes = [(coarse - fine).abs().mean().item() for fine, coarse in pairwise(found)]
    assert [math.log2(coarse / fine) for fine, coarse in pairwise(changes)] == pytest.approx([1, 1], abs=0.15)


@pytest.mark.parametrize(
    ("options", "order"), list(zip(NOISY, (1, 1, 2), strict=True)), ids=lambda o: getattr(o, "kind", o)
)
def test_weak_order_of_the_stochastic_samplers(options: Options, order: int) -> None:
    """Of the variance that N(MEAN, STD²) ends with, computed without chance: there a sampler is linear in all its noises."""
    first, last = -4.0, 5.0
    deviations = []
    for log_snr in (first, last):
        signal, noise = (s.item() for s in schedule.signal_and_noise(torch.tensor(log_snr, dtype=torch.float64)))
        deviations.append((signal * MEAN, math.hypot(STD * signal, noise)))
    (mean, deviation), (_, exact) = deviations
    errors = []
    for count in (40, 80, 160):
        # Entry 0 has no noise at all, entry 1 one unit at the start, entry i + 2 one unit in step i.
        unit = torch.eye(count + 2, dtype=torch.float64)[:, None, None]
        y = mean + deviation * unit[1][None]
        steps = torch.linspace(first, last, count + 1, dtype=torch.float64)
        found = sampler_for(options)(normal_denoiser, y, steps, lambda i, unit=unit: unit[i + 2][None]).flatten()
        errors.append(abs(((found[1:] - found[0]) ** 2).sum().item() - exact**2))
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert min(orders) > order - 0.1


@pytest.mark.parametrize("kind", sorted(SAMPLERS))
def test_reaches_the_normal_distribution(kind: str) -> None:
    options = Options(kind=kind, steps=400)
    y = start()
    samples = sampler_for(options)(normal_denoiser, y, steps_for(options, "edm"), noise_source(y.shape))
    assert samples.mean().item() == pytest.approx(MEAN, abs=0.01)
    assert samples.std().item() == pytest.approx(STD, rel=0.03)


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        (Options(kind="ancestral", steps=1000), 0.02),
        (Options(kind="ddim", steps=50), 0.03),
        (Options(kind="ddim", steps=200, eta=1.0), 0.03),
        (Options(kind="dpm++2m", steps=20), 0.02),
        (Options(kind="dpm++2m-sde", steps=50), 0.03),
        (Options(kind="heun", steps=30), 0.02),
    ],
)
def test_reaches_the_mixture(options: Options, limit: float) -> None:
    y = start(10_000)
    samples = sampler_for(options)(mixture_denoiser, y, steps_for(options, "edm"), noise_source(y.shape))
    assert distance(samples) < limit


def test_dpm_in_twenty_steps_beats_ddim_in_twenty() -> None:
    y = start(10_000)
    found = {}
    for kind in ("ddim", "dpm++2m"):
        options = Options(kind=kind, steps=20)
        found[kind] = distance(sampler_for(options)(mixture_denoiser, y, steps_for(options, "edm"), no_noise))
    assert found["dpm++2m"] < found["ddim"] / 2


def test_ancestral_is_algorithm_2_of_the_paper() -> None:
    """Against a transcription in the paper's symbols, from its betas, with ε as the network's output."""
    betas = np.linspace(1e-4, 0.09, 1000)
    alphas, gammas = 1 - betas, np.cumprod(1 - betas)
    y = start(8)
    draws = torch.randn(1000, *y.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    expected = y.numpy().copy()
    for count, t in enumerate(range(999, -1, -1)):
        level = schedule.log_snr_of_gamma(torch.tensor(gammas[t])).item()
        x0 = normal_denoiser(torch.from_numpy(expected), level).numpy()
        epsilon = (expected - np.sqrt(gammas[t]) * x0) / np.sqrt(1 - gammas[t])
        expected = 1 / np.sqrt(alphas[t]) * (expected - (1 - alphas[t]) / np.sqrt(1 - gammas[t]) * epsilon)
        if t > 0:
            expected = expected + np.sqrt(1 - alphas[t]) * draws[count].numpy()

    found = SAMPLERS["ancestral"](normal_denoiser, y, paper_steps(), lambda i: draws[i])
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-9)


def test_ddim_with_eta_one_is_ancestral_sampling_with_the_posterior_variance() -> None:
    """Against equations 6 and 7 of Ho et al. 2020: mean and variance of q(y' | y, x0)."""
    y = start(8)
    steps = torch.cat([torch.linspace(-8, 6, 30, dtype=torch.float64), torch.tensor([math.inf])])
    draws = torch.randn(30, *y.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    gammas = torch.sigmoid(steps).tolist()
    expected = y
    for i, (gamma, target) in enumerate(pairwise(gammas)):
        x0 = normal_denoiser(expected, steps[i].item())
        beta = 1 - gamma / target
        mean = math.sqrt(target) * beta / (1 - gamma) * x0 + math.sqrt(1 - beta) * (1 - target) / (1 - gamma) * expected
        expected = mean + math.sqrt((1 - target) / (1 - gamma) * beta) * draws[i]
    found = sampler_for(Options(kind="ddim", steps=30, eta=1.0))(normal_denoiser, y, steps, lambda i: draws[i])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", sorted(SAMPLERS))
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_few_steps_end_in_an_estimate_of_the_denoiser(kind: str, steps: int) -> None:
    """The result is the denoiser's last answer: clipped there, the image is in range; and float32 stays float32."""
    answers: list[Tensor] = []

    def denoise(y: Tensor, log_snr: float) -> Tensor:
        assert y.dtype == torch.float32
        assert math.isfinite(log_snr)
        answers.append(normal_denoiser(y, log_snr).clamp(-1, 1))
        return answers[-1]

    options = Options(kind=kind, steps=steps)
    y = start(16).float()
    found = sampler_for(options)(denoise, y, steps_for(options, "edm"), lambda _: torch.zeros_like(y))
    torch.testing.assert_close(found, answers[-1], rtol=0, atol=1e-5)
    assert len(answers) == (2 * steps - 1 if kind == "heun" else steps)


@pytest.mark.parametrize("kind", sorted(SAMPLERS))
def test_only_stochastic_samplers_draw_noise(kind: str) -> None:
    asked: list[int] = []

    def noise(step: int) -> Tensor:
        asked.append(step)
        return torch.zeros(1, 1, 1, 4, dtype=torch.float64)

    options = Options(kind=kind, steps=5)
    sampler_for(options)(normal_denoiser, start(4), steps_for(options, "edm"), noise)
    assert asked == ([0, 1, 2, 3] if kind in STOCHASTIC else [])


@pytest.mark.parametrize("objective", sorted(set(OBJECTIVES) - {"regression"}))
def test_steps_stay_in_the_trained_range(objective: str) -> None:
    for count in (1, 2, 20, 999):
        steps = steps_for(Options(kind="ancestral", steps=count), objective)
        assert steps.shape == (count + 1,)
        assert steps.dtype == torch.float64
        assert (steps.diff() > 0).all()
        low, high = level_range(objective)
        assert low - 1e-9 <= steps[0]
        assert steps[-2] <= high + 1e-9
        assert steps[-1] == math.inf


@pytest.mark.parametrize("objective", sorted(set(OBJECTIVES) - {"regression"}))
def test_at_the_last_level_noise_is_invisible(objective: str) -> None:
    steps = steps_for(Options(steps=20), objective)
    assert schedule.sigma_of(steps[-2:]).tolist() == pytest.approx([0.02, 0.0])


def test_a_thousand_ancestral_steps_are_the_papers() -> None:
    steps = steps_for(Options(kind="ancestral", steps=1000), "epsilon")
    torch.testing.assert_close(torch.sigmoid(steps[:-1]).flip(0), schedule.inference_gammas())


def test_evenly_spaced_steps_are_equation_5_of_karras() -> None:
    sigmas = schedule.sigma_of(even_steps(3, 0.02, 80.0))
    middle = ((80 ** (1 / 7) + 0.02 ** (1 / 7)) / 2) ** 7
    torch.testing.assert_close(sigmas, torch.tensor([80.0, middle, 0.02, 0.0], dtype=torch.float64))
