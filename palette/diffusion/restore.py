"""A trained model at work: degraded images in, restored images out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from palette.config import Network, Sampler
from palette.data.degraded import Degraded, Image, condition
from palette.data.randomness import generator
from palette.diffusion.denoiser import Denoiser
from palette.diffusion.objective import IMAGE_CHANNELS, INPUT_CHANNELS
from palette.diffusion.samplers import sampler_for, steps_for
from palette.errors import DataError
from palette.files import read_json
from palette.model.unet import UNet

Job = tuple[int, int]
"""Test index, draw: what the noise of an image depends on, beside the seed."""


@dataclass(frozen=True)
class Restorer:
    """`restorer(degraded, jobs)` → uint8 [H, W, 3] each.

    network: in evaluation mode, on `device`. objective: what it was trained on. sampler: None for regression, evaluated once.
    seed: of the noise.
    """

    network: UNet
    objective: str
    sampler: Sampler | None
    seed: int
    device: torch.device
    bf16: bool = False

    @torch.inference_mode()
    def __call__(self, degraded: Sequence[Degraded], jobs: Sequence[Job]) -> list[Image]:
        """The noise of an image depends on (seed, test index, draw) only: not on the batch, the shard or the device."""
        randoms = [generator(self.seed, "sample", *job) for job in jobs]
        conditions = self._tensor(np.stack([condition(d, r) for d, r in zip(degraded, randoms, strict=True)]))
        masks = self._tensor(np.stack([full_mask(d) for d in degraded]))

        def noise(step: int) -> Tensor:
            shape = conditions.shape[1:]
            return self._tensor(np.stack([random.standard_normal(shape, dtype=np.float32) for random in randoms]))

        denoiser = Denoiser(self.network, self.objective, conditions, masks, self.bf16)
        restored = self._sample(denoiser, noise)
        return [np.ascontiguousarray(image) for image in to_pixels(torch.where(masks, restored, conditions))]

    def _sample(self, denoiser: Denoiser, noise: Callable[[int], Tensor]) -> Tensor:
        if self.sampler is None:
            return denoiser(torch.zeros_like(denoiser.condition), 0.0)
        steps = steps_for(self.sampler, self.objective)
        return sampler_for(self.sampler)(denoiser, noise(-1), steps, noise)

    def _tensor(self, array: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def full_mask(degraded: Degraded) -> npt.NDArray[np.bool_]:
    """bool [1, H, W], True where the model must generate; everywhere for a task without a mask."""
    return (np.ones(degraded.image.shape[:2], np.bool_) if degraded.mask is None else degraded.mask)[None]


def to_pixels(images: Tensor) -> npt.NDArray[np.uint8]:
    """float [B, 3, H, W] in [-1, 1] → uint8 [B, H, W, 3]."""
    pixels = ((images + 1) * 127.5).clamp(0, 255).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


def load_network(model: Path, weights: Path, device: torch.device) -> UNet:
    """The network that `model.json` describes, with `model.safetensors` in it. Raises DataError if they do not fit."""
    facts = read_json(model)
    try:
        network = UNet(Network.model_validate(facts["network"]), INPUT_CHANNELS, IMAGE_CHANNELS, facts["image_size"])
        network.load_state_dict(load_file(weights))
    except (SafetensorError, KeyError, RuntimeError, ValueError) as error:
        raise DataError(f"{weights}: does not fit {model.name} ({error}). Delete both and train again.") from None
    network = network.to(device).eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # 1.4 times faster than the default, on CPUs too
