"""Training objectives. Each is one row of `OBJECTIVES`, with the same two functions.

The network F sees the condition and the scaled noisy image; its output is converted to an image (Karras et al. 2022,
eq. 7):

    x0_hat = c_skip(λ) · y + c_out(λ) · F(condition, c_in(λ) · y, λ)

The loss is the distance of F from the value that makes x0_hat = x0, with weight 1 in all rows: for `epsilon` this
value is ε, and the loss is the paper's; for `edm` weight 1 is exactly the λ(σ) = 1/c_out² of Karras et al. Other weights
of the noise levels are rows of `WEIGHTINGS`.

Where the task has a mask, noise and loss are confined to the hole, as in the paper: the network sees the known pixels
clean, in the noisy input too, and its output there is ignored.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from palette.diffusion.schedule import (
    log_snr_of_gamma,
    log_snr_of_sigma,
    sigma_of,
    signal_and_noise,
    training_gammas,
)

IMAGE_CHANNELS = 3


class Scales(NamedTuple):
    """Scales of x0_hat = c_skip · y + c_out · F(c_in · y), float64 [B] each."""

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor


class Objective(NamedTuple):
    draw: Callable[[Tensor], Tensor]
    """u in [0, 1), float64 [B] → λ of the training examples, float64 [B]."""
    scales: Callable[[Tensor], Scales]
    """λ float64 [B] → scales."""
    sigmas: tuple[float, float]
    """Range of trained levels: smallest and largest σ at which the network may be evaluated."""
    relative: bool = False
    """True if x0 is modeled relative to the degraded image, for tasks without a mask: see `frame`."""


def draw_from_schedule(u: Tensor) -> Tensor:
    """Draw t uniformly, then γ ~ U(γ_t, γ_t-1), on the training schedule (paper, Algorithm 1; γ's density as in SR3).
    t starts at 2: between γ_1 = 1 - 1e-6 and 1 there is no noise left to predict."""
    gammas = training_gammas().to(u.device)
    position = u * (len(gammas) - 1)
    t = position.long().clamp(max=len(gammas) - 2)
    gamma = torch.lerp(gammas[t], gammas[t + 1], position - t)
    return log_snr_of_gamma(gamma)


def draw_lognormal(u: Tensor) -> Tensor:
    """Draw ln σ ~ N(-0.4, 1.4²).

    Karras et al. use N(-1.2, 1.2²) for unconditional images. Here the colors of a whole image are decided at high
    noise, so those levels get more of the training: 10 % of the examples have σ > 4 instead of 1.5 %.
    """
    normal = torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6))
    return log_snr_of_sigma(torch.exp(-0.4 + 1.4 * normal))


def draw_constant(u: Tensor) -> Tensor:
    """Return λ = 0: regression has no noise level."""
    return torch.zeros_like(u)


def edm_scales(log_snr: Tensor, sigma_data: float = 0.5) -> Scales:
    """Return the scales of Table 1 of Karras et al. 2022, for y = (x0 + σ n)·√γ.
    Input and target of F have variance 1 at every level."""
    sigma = sigma_of(log_snr)
    signal, _ = signal_and_noise(log_snr)
    total = sigma**2 + sigma_data**2
    return Scales(sigma_data**2 / total / signal, sigma * sigma_data / total.sqrt(), 1 / total.sqrt() / signal)


def epsilon_scales(log_snr: Tensor) -> Scales:
    """Return the scales for F = ε, so x0 = (y - √(1-γ) ε) / √γ."""
    signal, noise = signal_and_noise(log_snr)
    return Scales(1 / signal, -noise / signal, torch.ones_like(signal))


def x0_scales(log_snr: Tensor) -> Scales:
    """Return the scales for F = x0."""
    one = torch.ones_like(log_snr)
    return Scales(0 * one, one, one)


def v_scales(log_snr: Tensor) -> Scales:
    """Return the scales for F = v = √γ ε - √(1-γ) x0 (Salimans & Ho 2022), so x0 = √γ y - √(1-γ) v."""
    signal, noise = signal_and_noise(log_snr)
    return Scales(signal, -noise, torch.ones_like(signal))


def regression_scales(log_snr: Tensor) -> Scales:
    """Return the scales for F = x0 from the condition alone: zeros replace the noisy image (the paper's baseline)."""
    one = torch.ones_like(log_snr)
    return Scales(0 * one, one, 0 * one)


SCHEDULE_SIGMAS = (1e-3, 150.9)
"""σ of γ_1 and γ_2000 of the training schedule."""

OBJECTIVES: dict[str, Objective] = {
    "edm": Objective(draw_lognormal, edm_scales, (2e-3, 32.0), relative=True),
    "edm-plain": Objective(draw_lognormal, edm_scales, (2e-3, 32.0)),
    "epsilon": Objective(draw_from_schedule, epsilon_scales, SCHEDULE_SIGMAS),
    "x0": Objective(draw_from_schedule, x0_scales, SCHEDULE_SIGMAS),
    "v": Objective(draw_from_schedule, v_scales, SCHEDULE_SIGMAS),
    "regression": Objective(draw_constant, regression_scales, (1.0, 1.0)),
}

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {"l2": torch.square, "l1": torch.abs}


class Batch(NamedTuple):
    """Training examples. u determines their noise levels."""

    x0: Tensor
    """float32 [B, 3, H, W] in [-1, 1]: the original images."""
    condition: Tensor
    """float32 [B, 3, H, W]: the degraded images that the network sees."""
    mask: Tensor
    """bool [B, 1, H, W], True where the model must generate; somewhere in every image."""
    noise: Tensor
    """float32 [B, 3, H, W] ~ N(0, 1): ε."""
    u: Tensor
    """float64 [B] ~ U[0, 1)."""


def image_shaped(per_image: Tensor) -> Tensor:
    """Reshape [B] float64 to [B, 1, 1, 1] float32."""
    return per_image.float()[:, None, None, None]


def network_input(y: Tensor, condition: Tensor, mask: Tensor, c_in: Tensor) -> Tensor:
    """Return [B, 6, H, W]: the condition, then the noisy image scaled by `c_in`, with known pixels outside the hole.

    y, condition: float [B, 3, H, W]. mask: bool [B, 1, H, W], True where the model must generate. c_in: float64 [B].
    """
    return torch.cat([condition, torch.where(mask, image_shaped(c_in) * y, condition)], dim=1)


class Frame(NamedTuple):
    """Shifted and scaled coordinates of the unknown: x0 = center + scale · r, and the network works with r."""

    center: Tensor
    """float32 [B, 3, H, W]."""
    scale: Tensor
    """float64 [B]. A noise level σ of x0 corresponds to σ/scale of r."""

    def inward(self, x0: Tensor) -> Tensor:
        """Convert x0 to r."""
        return (x0 - self.center) / image_shaped(self.scale)

    def outward(self, r: Tensor) -> Tensor:
        """Convert r to x0."""
        return self.center + image_shaped(self.scale) * r


def frame(kind: str, condition: Tensor, mask: Tensor) -> Frame:
    """Return the coordinates in which `edm` gets data of mean 0 and deviation 0.5; r = x0 for the other objectives.

    Given a whole degraded image, x0 lies around that image. Its deviation from it is about 0.2 (0.18 for grayscale,
    0.13 for JPEG of quality 5, on the photographs), so r = (x0 - condition)/0.4. Without this, a small network spends
    its first thousands of steps on learning to copy its input. In a hole there is no such image, and r = x0. The other
    objectives always have r = x0, as published: `edm-plain` is for pairs that do not look alike, where the network
    would first have to learn to undo the shift.

    condition: float [B, 3, H, W]. mask: bool [B, 1, H, W], True where the model must generate.
    """
    relative = mask.flatten(1).all(dim=1) & OBJECTIVES[kind].relative  # [B]
    center = torch.where(relative[:, None, None, None], condition, torch.zeros_like(condition))
    return Frame(center, torch.where(relative, 0.4, 1.0).double())


def targets(objective: Objective, x0: Tensor, noise: Tensor, log_snr: Tensor) -> Tensor:
    """Return the value of F that makes x0_hat = x0: float [B, 3, H, W].
    Computed as a combination of x0 and ε, because (x0 - c_skip · y)/c_out loses all digits where c_out is small."""
    c_skip, c_out, _ = objective.scales(log_snr)
    signal, strength = signal_and_noise(log_snr)
    return image_shaped((1 - c_skip * signal) / c_out) * x0 - image_shaped(c_skip * strength / c_out) * noise


def weight_one(objective: Objective, log_snr: Tensor) -> Tensor:
    """Return weight 1, the objective's own weighting."""
    return torch.ones_like(log_snr)


def min_snr_weight(objective: Objective, log_snr: Tensor) -> Tensor:
    """Return the weight of F's error that gives the error of x0 the weight min(SNR, 5) (Hang et al. 2023).

    The error of x0_hat is `c_out` times that of F. For `epsilon` the weight is min(SNR, 5)/SNR, for `v`
    min(SNR, 5)/(SNR + 1), as in that paper. SNR is e^λ of the network's input: of r, where `frame` has changed the
    units. r varies as much as whole images do, for which the limit of 5 was chosen.
    """
    return log_snr.exp().clamp(max=5) * objective.scales(log_snr).c_out.square()


WEIGHTINGS: dict[str, Callable[[Objective, Tensor], Tensor]] = {"none": weight_one, "min-snr": min_snr_weight}
"""Weight of F's error at each λ, both float64 [B]."""


def masked_mean(error: Tensor, mask: Tensor) -> Tensor:
    """Average [B, 3, H, W] over each image's hole: [B]. The size of the hole does not affect an image's weight."""
    return (error * mask).sum(dim=(1, 2, 3)) / (mask.sum(dim=(1, 2, 3)) * error.shape[1])


def loss(kind: str, norm: str, network: nn.Module, batch: Batch, weighting: str = "none") -> Tensor:
    """Return the loss of each image, [B]. kind, norm, weighting: rows of OBJECTIVES, LOSSES and WEIGHTINGS."""
    x0, condition, mask, noise, u = batch
    objective = OBJECTIVES[kind]
    r = frame(kind, condition, mask).inward(x0)
    log_snr = objective.draw(u)
    signal, strength = signal_and_noise(log_snr)
    y = image_shaped(signal) * r + image_shaped(strength) * noise
    inputs = network_input(y, condition, mask, objective.scales(log_snr).c_in)
    predicted = network(inputs, log_snr)
    error = masked_mean(LOSSES[norm](predicted - targets(objective, r, noise, log_snr)), mask)
    return error * WEIGHTINGS[weighting](objective, log_snr).float()


def stratified(count: int, offset: float) -> Tensor:
    """Return u = (i + offset)/count, float64 [count], offset in [0, 1): each U[0, 1), together evenly spread.
    One batch then covers all noise levels, and the loss has less variance (Kingma et al. 2021, appendix I.1)."""
    return (torch.arange(count, dtype=torch.float64) + offset) / count


def level_range(kind: str) -> tuple[float, float]:
    """Return the smallest and largest λ that a network of this objective was trained on."""
    smallest, largest = OBJECTIVES[kind].sigmas
    return -2 * math.log(largest), -2 * math.log(smallest)
