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

Values of y at known pixels are meaningless.
"""


def watched(denoise: Denoise, watch: Watch) -> Denoise:
    """Return `denoise`, passing `watch` each state that a sampler visits and the estimate there."""
    evaluations = count()

    def shown(y: Tensor, log_snr: float) -> Tensor:
        x0 = denoise(y, log_snr)
        watch(next(evaluations), y, x0)
        return x0

    return shown


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
        framed = frame(self.objective, self.condition, self.mask)
        inner_level = level + 2 * framed.scale.log()
        # √γ x0 + √(1-γ) ε → √γ' r + √(1-γ') ε: minus the center, rescaled to variance 1.
        (signal, _), (inner_signal, _) = signal_and_noise(level), signal_and_noise(inner_level)
        inner = image_shaped(inner_signal / signal / framed.scale) * (y - image_shaped(signal) * framed.centre)
        inner_level = inner_level.clamp(*level_range(self.objective))
        skip, out, inside = OBJECTIVES[self.objective].scales(inner_level)
        seen = network_input(inner, self.condition, self.mask, inside)
        with torch.autocast(y.device.type, DTYPES[self.precision], enabled=y.is_cuda and self.precision != "fp32"):
            predicted = self.network(seen, inner_level).float()
        estimate = framed.outward(image_shaped(skip) * inner + image_shaped(out) * predicted)
        return torch.where(self.mask, estimate.clamp(-1, 1), self.condition)
