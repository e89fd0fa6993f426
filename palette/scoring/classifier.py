"""A small classifier of the dataset's own images, whose features serve where no pretrained network is available.

Distances between its features are called FD-photos, never FID. It is sensitive to colors and sharp edges on purpose: the
only augmentations are mirrored and shifted crops, so that a lost color or a blurred edge changes the features.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from palette.config.scores import PhotoClassifier
from palette.data.store.store import ImageStore
from palette.errors import DataError
from palette.model.finite import require_finite
from palette.system.files import replacing
from palette.system.progress import Progress
from palette.system.randomness import generator

MOMENTUM = 0.2
"""Momentum of the running statistics: they must converge within a short training too."""
SHIFT = 1 / 16
"""Largest random shift of a training crop, as a share of its side."""
WEIGHT_DECAY = 0.05
SEED = 0
"""One classifier per dataset and set of options: the scores of all experiments share it, whatever their seeds."""
MEMORY = 1 << 30
"""Keep up to this many bytes of decoded images."""


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
    Normalization within the image would remove the image's own contrast from the features."""
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


def fit(images: ImageStore, options: PhotoClassifier, device: torch.device) -> Classifier:
    """Train a classifier: AdamW, one cycle of a cosine, seeded.
    Equal images and options give equal weights on the CPU."""
    require_classes(images.classes)
    rng = generator(SEED, "classifier")
    torch.manual_seed(int(rng.integers(1 << 62)))  # the initial weights
    model = Classifier(options.channels, len(images.classes)).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), options.learning_rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
    progress = Progress("train classifier", options.steps, "steps")
    for pixels, labels in batches(images, options, rng):
        loss = F.cross_entropy(model(to_tensor(augment(pixels, rng), device)), labels.to(device))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        progress.advance(note=f"loss {loss.item():.3f}")
    return model.eval()


def require_classes(classes: list[str]) -> None:
    """Raise DataError if there are fewer than two classes."""
    if len(classes) < 2:
        raise DataError(
            f"score.extractors: `photos` is a classifier and needs at least 2 classes, but this dataset has {len(classes)}. "
            "Sort the images of the folder into one sub-folder per class, or use `extractors: [pixels]`, which needs neither "
            "classes nor weights."
        )


def batches(
    images: ImageStore, options: PhotoClassifier, rng: np.random.Generator
) -> Iterator[tuple[npt.NDArray[np.uint8], Tensor]]:
    """Yield `options.steps` batches drawn at random: pixels uint8 [B,H,W,3], labels int64 [B]."""
    decoded: dict[int, npt.NDArray[np.uint8]] = {}
    labels = torch.tensor(images.labels)
    for _ in range(options.steps):
        chosen = rng.integers(len(images), size=options.batch_size).tolist()
        pixels = [decoded[i] if i in decoded else images[i] for i in chosen]
        if len(decoded) * pixels[0].nbytes < MEMORY:
            decoded.update(zip(chosen, pixels, strict=True))
        yield np.stack(pixels), labels[chosen]


def augment(pixels: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Mirror half of the images [B,H,W,3] and shift each by up to SHIFT of its side, with the edges repeated.
    Colors and sharpness are unchanged."""
    count, height, width, _ = pixels.shape
    reach = max(1, round(width * SHIFT))
    padded = np.pad(pixels, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    rows, columns = rng.integers(2 * reach + 1, size=(2, count)).tolist()
    shifted = np.stack([p[r : r + height, c : c + width] for p, r, c in zip(padded, rows, columns, strict=True)])
    mirrored = np.less(rng.random(count), 0.5)
    return np.where(mirrored[:, None, None, None], shifted[:, :, ::-1], shifted)


@torch.no_grad()
def accuracy(model: Classifier, images: ImageStore, device: torch.device, batch_size: int = 64) -> float:
    """Return the fraction of the images that the model classifies correctly."""
    right = 0
    for first in range(0, len(images), batch_size):
        index = range(first, min(first + batch_size, len(images)))
        logits = model(to_tensor(np.stack([images[i] for i in index]), device))
        right += int((logits.argmax(1).cpu() == torch.tensor([images.labels[i] for i in index])).sum())
    return right / len(images)
