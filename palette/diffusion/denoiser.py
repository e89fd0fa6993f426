"""A trained network as samplers see it: noisy image in, estimate of the clean image out."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor, nn

from palette.diffusion.objective import OBJECTIVES, frame, image_shaped, level_range, network_input
from palette.diffusion.schedule import signal_and_noise

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
Denoise = Callable[[Tensor, float], Tensor]
Watch = Callable[[int, Tensor, Tensor], None]
"""(evaluation, from 0; state y; estimate x0_hat), both float [B, 3, H, W].
Values of y at known pixels are meaningless."""


def watched(denoise: Denoise, watch: Watch) -> Denoise:
    """Return `denoise`, passing `watch` each state that a sampler visits and the estimate there."""
    evaluations = count()

    def watched_denoise(y: Tensor, log_snr: float) -> Tensor:
        x0 = denoise(y, log_snr)
        watch(next(evaluations), y, x0)
        return x0

    return watched_denoise


@dataclass(frozen=True)
class Denoiser:
    """`denoiser(y, log_snr)` → x0_hat, both float [B, 3, H, W]; y = √γ x0 + √(1-γ) ε at the level `log_snr`.

    network: an `objective` network. condition: float [B, 3, H, W]. mask: bool [B, 1, H, W], True where to generate.
    precision: the network's arithmetic, `fp32`, `bf16` or `fp16`, on a GPU. On a CPU it is always fp32, because the
    others are tens of times slower where the processor has no instructions for them.

    Known pixels come from the condition, both in the network's input and in the returned estimate; the values of y
    there are ignored, so a sampler need not know about masks. The estimate is clipped to [-1, 1]: a mean of images
    cannot leave that range, so clipping only removes error. A level outside the trained range is replaced by the
    nearest one inside, in the units that the network sees: a state that is 99.996 % noise (the paper's inference
    schedule goes on to 1 - 7e-21) is treated as the noisiest trained one.
    """

    network: nn.Module
    objective: str
    condition: Tensor
    mask: Tensor
    precision: str = "fp32"

    def __call__(self, y: Tensor, log_snr: float) -> Tensor:
        level = torch.full((len(y),), log_snr, dtype=torch.float64, device=y.device)
        coordinates = frame(self.objective, self.condition, self.mask)
        r_level = level + 2 * coordinates.scale.log()
        # √γ x0 + √(1-γ) ε → √γ' r + √(1-γ') ε: minus the center, rescaled to variance 1.
        (signal, _), (r_signal, _) = signal_and_noise(level), signal_and_noise(r_level)
        noisy_r = image_shaped(r_signal / signal / coordinates.scale) * (y - image_shaped(signal) * coordinates.center)
        r_level = r_level.clamp(*level_range(self.objective))
        c_skip, c_out, c_in = OBJECTIVES[self.objective].scales(r_level)
        inputs = network_input(noisy_r, self.condition, self.mask, c_in)
        with torch.autocast(y.device.type, DTYPES[self.precision], enabled=y.is_cuda and self.precision != "fp32"):
            predicted = self.network(inputs, r_level).float()
        estimate = coordinates.outward(image_shaped(c_skip) * noisy_r + image_shaped(c_out) * predicted)
        return torch.where(self.mask, estimate.clamp(-1, 1), self.condition)
