"""A small classifier of the dataset's own images, whose features serve where no pretrained network is available.

Distances between its features are called FD-photos, never FID.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from palette.errors import DataError
from palette.model.finite import require_finite
from palette.system.files import replacing

MOMENTUM = 0.2
"""Momentum of the running statistics: they must converge within a short training too."""


class Classifier(nn.Module):
    """Four convolutions from 1 to 1/16 of the resolution, global average pooling, and a linear layer.

    The first convolution has stride 4. channels: C, width of the first stage. classes: K. Images are float32 [B,3,H,W]
    in [-1,1], of any size.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            *_stage(3, channels, 7, stride=4),
            *_stage(channels, 2 * channels, 3, stride=2),
            *_stage(2 * channels, 4 * channels, 3, stride=1),
            *_stage(4 * channels, 4 * channels, 3, stride=2),
        )
        self.head = nn.Linear(4 * channels, classes)

    def features(self, images: Tensor) -> Tensor:
        """Compute features: float32 [B,3,H,W] in [-1,1] → float32 [B,4C], none negative."""
        pooled: Tensor = self.stages(images).mean((2, 3))
        return pooled

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits: float32 [B,3,H,W] in [-1,1] → float32 [B,K]."""
        logits: Tensor = self.head(self.features(images))
        return logits


def _stage(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
    """Return convolution, batch normalization and ReLU.

    Normalization within the image would remove the image's own contrast from the features.
    """
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs, momentum=MOMENTUM), nn.ReLU(inplace=True)]


def to_tensor(pixels: npt.NDArray[np.uint8], device: torch.device) -> Tensor:
    """Convert uint8 [B,H,W,3] to float32 [B,3,H,W] in [-1,1], channels last in memory."""
    images = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2)
    return (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def save_classifier(model: Classifier, path: Path) -> None:
    """Write the weights atomically; equal weights give equal bytes."""
    with replacing(path) as temporary:
        temporary.write_bytes(save({name: value.contiguous().cpu() for name, value in model.state_dict().items()}))


def load_classifier(path: Path, channels: int, classes: int, device: torch.device) -> Classifier:
    """Load the classifier that `save_classifier` wrote, in evaluation mode on `device`."""
    model = Classifier(channels, classes)
    try:
        weights = load_file(path)
        require_finite(weights.items(), path)
        model.load_state_dict(weights)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"{path}: not the weights of this classifier ({error}). Delete its folder and run `snakemake` again."
        ) from None
    return model.to(device).to(memory_format=torch.channels_last).eval()
