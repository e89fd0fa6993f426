"""Samplers against diffusers' schedulers of the same name, where the two define the same thing.

Both get the levels that our sampler would use, the same noise, and the exact denoiser of a mixture of two normal
distributions, clipped as a trained network's answer is. Diffusers keeps its tables in float32, 1e-4 away from exact ones; they
are replaced by float64 tables of the same levels, so that what is compared is the algorithm, to 1e-9. Its DPM-Solver computes
in float32 whatever it is given, and is compared to 1e-5.
"""

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, HeunDiscreteScheduler
from diffusers.schedulers import scheduling_ddpm
from torch import Tensor

from palette.config.sampling import Sampler as Options
from palette.diffusion import schedule
from palette.diffusion.samplers import even_steps, paper_steps, sampler_for, steps_for
from tests.diffusion.test_samplers import mixture_denoiser, start

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def denoise(y: Tensor, log_snr: float) -> Tensor:
    return mixture_denoiser(y, log_snr).clamp(-0.65, 0.65)


def ours(options: Options, y: Tensor, steps: Tensor, noise: Tensor) -> Tensor:
    return sampler_for(options)(denoise, y, steps, lambda i: noise[i])


def fresh(steps: Tensor) -> tuple[Tensor, Tensor]:
    """The start, and the noise of each step."""
    y = start(64)
    return y, torch.randn(len(steps), *y.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def made(kind: type, steps: Tensor, **options: Any) -> Any:
    """A scheduler whose timesteps are our steps but the last: timestep 0 is the cleanest."""
    gammas = torch.sigmoid(steps[:-1]).flip(0)
    betas = 1 - gammas / torch.cat([torch.ones(1, dtype=torch.float64), gammas[:-1]])
    scheduler = kind(num_train_timesteps=len(gammas), trained_betas=betas.tolist(), prediction_type="sample", **options)
    if kind is DDIMScheduler:
        scheduler.set_timesteps(len(gammas))
    else:
        scheduler.set_timesteps(timesteps=list(range(len(gammas)))[::-1])
    scheduler.alphas_cumprod = gammas
    return scheduler


ANCESTRAL = [paper_steps(), steps_for(Options(kind="ancestral", steps=20), "edm")]


@pytest.mark.parametrize("steps", ANCESTRAL, ids=["paper", "few"])
def test_ancestral_is_ddpm_with_the_large_variance(steps: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """`fixed_large` is β = 1-α, the paper's."""
    y, noise = fresh(steps)
    expected, scheduler = y, made(DDPMScheduler, steps, variance_type="fixed_large", clip_sample=False)
    for i, t in enumerate(scheduler.timesteps):
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, i=i, **__: noise[i])
        expected = scheduler.step(denoise(expected, steps[i].item()), t, expected).prev_sample
    found = ours(Options(kind="ancestral", steps=len(steps) - 1), y, steps, noise)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_ddim_with_eta_one_is_ddpm_with_the_small_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fixed_small` is the posterior's."""
    options = Options(kind="ddim", steps=20, eta=1.0)
    steps = steps_for(options, "edm")
    y, noise = fresh(steps)
    expected, scheduler = y, made(DDPMScheduler, steps, variance_type="fixed_small", clip_sample=False)
    for i, t in enumerate(scheduler.timesteps):
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, i=i, **__: noise[i])
        expected = scheduler.step(denoise(expected, steps[i].item()), t, expected).prev_sample
    torch.testing.assert_close(ours(options, y, steps, noise), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim(eta: float) -> None:
    options = Options(kind="ddim", steps=20, eta=eta)
    steps = steps_for(options, "edm")
    y, noise = fresh(steps)
    expected, scheduler = y, made(DDIMScheduler, steps, clip_sample=False)
    for i, t in enumerate(scheduler.timesteps):
        x0 = denoise(expected, steps[i].item())
        expected = scheduler.step(x0, t, expected, eta=eta, variance_noise=noise[i] if eta else None).prev_sample
    torch.testing.assert_close(ours(options, y, steps, noise), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 5, 20])
@pytest.mark.parametrize("kind", ["dpm++2m", "dpm++2m-sde"])
def test_dpm_solver(kind: str, count: int) -> None:
    options = Options(kind=kind, steps=count)
    steps = steps_for(options, "edm")
    y, noise = fresh(steps)
    algorithm = "sde-dpmsolver++" if kind.endswith("sde") else "dpmsolver++"
    expected = y
    scheduler = made(
        DPMSolverMultistepScheduler, steps, solver_order=2, algorithm_type=algorithm, final_sigmas_type="zero"
    )
    scheduler.sigmas = schedule.sigma_of(steps)
    for i, t in enumerate(scheduler.timesteps):
        expected = scheduler.step(denoise(expected, steps[i].item()), t, expected, variance_noise=noise[i]).prev_sample
    torch.testing.assert_close(ours(options, y, steps, noise), expected, rtol=0, atol=1e-5)


def test_heun() -> None:
    """Diffusers' state is x0 + σ ε; `scale_model_input` makes ours of it."""
    options = Options(kind="heun", steps=18)
    steps = steps_for(options, "edm")
    y, noise = fresh(steps)
    scheduler = made(HeunDiscreteScheduler, steps)
    sigmas = schedule.sigma_of(steps)
    scheduler.sigmas = torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(2), sigmas[-1:]])
    expected = y / schedule.signal_and_noise(steps[0])[0]
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(expected, t)
        level = schedule.log_snr_of_sigma(scheduler.sigmas[scheduler.step_index]).item()
        expected = scheduler.step(denoise(scaled, level), t, expected).prev_sample
    torch.testing.assert_close(ours(options, y, steps, noise), expected, rtol=0, atol=1e-9)


def test_even_steps_are_the_karras_sigmas() -> None:
    """Between the ends of a schedule of two levels; theirs are float32."""
    clean, noisy = (1 / (1 + sigma**2) for sigma in (0.02, 80.0))
    betas = [1 - clean, 1 - noisy / clean]
    scheduler = HeunDiscreteScheduler(num_train_timesteps=2, trained_betas=betas, use_karras_sigmas=True)
    scheduler.set_timesteps(18)
    theirs = torch.cat([scheduler.sigmas[:1], scheduler.sigmas[1::2]]).double()
    torch.testing.assert_close(theirs, schedule.sigma_of(even_steps(18, 0.02, 80.0)), rtol=1e-3, atol=0)
