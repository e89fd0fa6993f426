"""Inference with a trained model: degraded images in, restored images out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from palette.config.models import Network
from palette.config.sampling import Sampler
from palette.data.images.degraded import Degraded, Image, condition
from palette.diffusion.denoiser import Denoise, Denoiser, Watch, watched
from palette.diffusion.samplers import sampler_for, steps_for
from palette.errors import DataError
from palette.model import ema
from palette.model.finite import require_finite
from palette.model.networks import build
from palette.model.unet import UNet
from palette.system.randomness import generator

Job = tuple[int | str, int]
"""(test index, or name of another photo; draw): together with the seed, these determine the noise of an image."""


@dataclass(frozen=True)
class Restorer:
    """`restorer(degraded, jobs)` → uint8 [H, W, 3] each.

    network: in evaluation mode, on `device`. objective: the one it was trained on. sampler: None for regression, which
    is evaluated once. seed: of the noise. precision: the network's arithmetic on a GPU, see `Denoiser`.
    """

    network: UNet
    objective: str
    sampler: Sampler | None
    seed: int
    device: torch.device
    precision: str = "fp32"

    @torch.inference_mode()
    def __call__(self, degraded: Sequence[Degraded], jobs: Sequence[Job], watch: Watch | None = None) -> list[Image]:
        """Restore images.

        The noise of each depends only on the seed and its job, not on the batch, the shard or the device.

        watch: receives every intermediate state and the estimate of the clean image there.
        """
        randoms = [generator(self.seed, "sample", *job) for job in jobs]
        conditions = self._tensor(np.stack([condition(d, r) for d, r in zip(degraded, randoms, strict=True)]))
        masks = self._tensor(np.stack([full_mask(d) for d in degraded]))

        def noise(step: int) -> Tensor:
            shape = conditions.shape[1:]
            return self._tensor(np.stack([random.standard_normal(shape, dtype=np.float32) for random in randoms]))

        denoiser = Denoiser(self.network, self.objective, conditions, masks, self.precision)
        restored = self._sample(watched(denoiser, watch) if watch else denoiser, noise, conditions)
        return [np.ascontiguousarray(image) for image in to_pixels(torch.where(masks, restored, conditions))]

    def trajectories(self, degraded: Sequence[Degraded], jobs: Sequence[Job]) -> list[list[Image]]:
        """Return, for each image, the estimate at every evaluation of the network, uint8 [H, W, 3].
        The last estimate is the restored image."""
        seen: list[npt.NDArray[np.uint8]] = []
        self(degraded, jobs, lambda _, y, x0: seen.append(to_pixels(x0)))
        return [[estimates[i] for estimates in seen] for i in range(len(jobs))]

    def _sample(self, denoise: Denoise, noise: Callable[[int], Tensor], conditions: Tensor) -> Tensor:
        if self.sampler is None:
            return denoise(torch.zeros_like(conditions), 0.0)
        steps = steps_for(self.sampler, self.objective)
        return sampler_for(self.sampler)(denoise, noise(-1), steps, noise)

    def _tensor(self, array: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def full_mask(degraded: Degraded) -> npt.NDArray[np.bool_]:
    """Return bool [1, H, W], True where the model must generate; True everywhere for a task without a mask."""
    return (np.ones(degraded.image.shape[:2], np.bool_) if degraded.mask is None else degraded.mask)[None]


def to_pixels(images: Tensor) -> npt.NDArray[np.uint8]:
    """Convert float [B, 3, H, W] in [-1, 1] to uint8 [B, H, W, 3]."""
    pixels = ((images + 1) * 127.5).clamp(0, 255).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


def weights_file(sampler: Sampler | None) -> str:
    """Return the name of the file in a model's folder that holds the weights for `sampler`."""
    return "model.safetensors" if sampler is None or sampler.ema_width is None else "averages.safetensors"


def network_with(
    network: Network, image_size: int, weights: Path, device: torch.device, ema_width: float | None = None
) -> UNet:
    """Build a network from its options for images of `image_size` pixels and load its weights, in evaluation mode.

    weights: `model.safetensors`; with `ema_width`, `averages.safetensors`, from which that average is computed.
    Raises DataError if they do not fit.
    """
    try:
        built = build(network, image_size)
        tensors = load_file(weights) if ema_width is None else ema.averaged(weights, ema_width)
        require_finite(tensors.items(), weights)
        built.load_state_dict(tensors)
    except (SafetensorError, KeyError, RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())[:400]  # a wrong network has hundreds of keys
        raise DataError(
            f"{weights}: does not fit the network that it should ({why}). Train or import it again."
        ) from None
    built = built.to(device).eval().requires_grad_(False)
    return built.to(memory_format=torch.channels_last)  # 1.4 times faster than the default, on CPUs too
