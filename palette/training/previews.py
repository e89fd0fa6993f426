"""Preview sheets of restored images, for inspection during training."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from palette.config.sampling import Sampler
from palette.diffusion.denoiser import Denoiser
from palette.diffusion.inference import to_pixels
from palette.diffusion.objective import Batch
from palette.diffusion.samplers import sampler_for, steps_for
from palette.system.files import replacing
from palette.training.stream import Images, collate, moved
from palette.training.trainer import Trainer
from palette.training.validation import Part, fixed_stream

if TYPE_CHECKING:
    from palette.stages.train import TrainSpec

ROWS = 4
SAMPLER = Sampler(kind="dpm++2m", steps=10)
GAP = 4
"""White pixels between images."""


class Previews:
    """`previews(trainer)` writes `previews/step-00001000.png`: condition, restored, original; one row per image.

    The at most four images, their degradation and their noise are always the same, so that sheets can be compared. Only
    rank 0 writes previews; the others wait for it at their next exchange, for seconds.
    """

    def __init__(self, images: Images, spec: "TrainSpec", folder: Path) -> None:
        """images: the held-out images, or the training images if none are held out."""
        few = fixed_stream(Part(images, range(min(ROWS, len(images)))), spec)
        self.batch = collate([few.example(item) for item in range(few.batch_size)], few.levels(0))
        self.spec, self.folder = spec, folder

    def due(self, step: int) -> bool:
        """Return whether a preview is due after `step` steps."""
        every = self.spec.runtime.preview_every
        return every > 0 and step % every == 0

    def __call__(self, trainer: Trainer) -> npt.NDArray[np.uint8]:
        """Write the current sheet and return it: uint8 [H, W, 3]."""
        with trainer.averaged_network() as network:
            batch = moved(self.batch, trainer.world.device)
            pixels = sheet(batch, restored(network, batch, self.spec))
        with replacing(self.folder / f"step-{trainer.step:08}.png") as temporary:
            Image.fromarray(pixels).save(temporary, format="PNG")
        return pixels


def restored(network: nn.Module, batch: Batch, spec: "TrainSpec") -> Tensor:
    """Restore the conditions of the batch in a few steps, starting from the batch's noise: float [B, 3, H, W]."""
    denoiser = Denoiser(network, spec.objective.kind, batch.condition, batch.mask, spec.precision)
    if spec.objective.kind == "regression":
        return denoiser(torch.zeros_like(batch.noise), 0.0)
    steps = steps_for(SAMPLER, spec.objective.kind)
    return sampler_for(SAMPLER)(denoiser, batch.noise, steps, lambda _: torch.zeros_like(batch.noise))


def sheet(batch: Batch, images: Tensor) -> npt.NDArray[np.uint8]:
    """Arrange the rows and columns of a preview: uint8 [H, W, 3].
    Holes are shown in gray instead of the network's noise."""
    everywhere = batch.mask.flatten(1).all(dim=1)[:, None, None, None]
    degraded = torch.where(batch.mask & ~everywhere, 0.0, batch.condition)
    columns = [to_pixels(column) for column in (degraded, images, batch.x0)]  # each [B, H, W, 3]
    padded = [np.pad(column, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255) for column in columns]
    rows = np.concatenate(padded, axis=2)  # [B, H, 3·W, 3]
    return np.ascontiguousarray(rows.reshape(-1, *rows.shape[2:])[:-GAP, :-GAP])
