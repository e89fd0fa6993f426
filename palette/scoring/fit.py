"""Training of the classifier of the dataset's own images.

It is sensitive to colors and sharp edges on purpose: the only augmentations are mirrored and shifted crops, so that a
lost color or a blurred edge changes the features.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from palette.config.scores import Extractor
from palette.errors import DataError
from palette.scoring.classifier import Classifier, to_tensor
from palette.system.progress import Progress
from palette.system.randomness import generator

SHIFT = 1 / 16
"""Largest random shift of a training crop, as a share of its side."""
WEIGHT_DECAY = 0.05
SEED = 0
"""One classifier per dataset and set of options: the scores of all experiments share it, whatever their seeds."""
MEMORY = 1 << 30
"""Keep up to this many bytes of decoded images."""


class Images(Protocol):
    """The parts of an image store that are used here."""

    @property
    def labels(self) -> list[int]: ...

    @property
    def classes(self) -> list[str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]: ...


def fit(images: Images, options: Extractor, device: torch.device) -> Classifier:
    """Train a classifier: AdamW, one cycle of a cosine, seeded.

    Equal images and options give equal weights on the CPU.
    """
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
    images: Images, options: Extractor, rng: np.random.Generator
) -> Iterator[tuple[npt.NDArray[np.uint8], Tensor]]:
    """Yield `options.steps` batches drawn at random: pixels uint8 [B,H,W,3], labels int64 [B]."""
    kept: dict[int, npt.NDArray[np.uint8]] = {}
    labels = torch.tensor(images.labels)
    for _ in range(options.steps):
        chosen = rng.integers(len(images), size=options.batch_size).tolist()
        pixels = [kept[i] if i in kept else images[i] for i in chosen]
        if len(kept) * pixels[0].nbytes < MEMORY:
            kept.update(zip(chosen, pixels, strict=True))
        yield np.stack(pixels), labels[chosen]


def augment(pixels: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Mirror half of the images [B,H,W,3] and shift each by up to SHIFT of its side, with the edges repeated.

    Colors and sharpness are unchanged.
    """
    count, height, width, _ = pixels.shape
    reach = max(1, round(width * SHIFT))
    padded = np.pad(pixels, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    rows, columns = rng.integers(2 * reach + 1, size=(2, count)).tolist()
    shifted = np.stack([p[r : r + height, c : c + width] for p, r, c in zip(padded, rows, columns, strict=True)])
    mirrored = np.less(rng.random(count), 0.5)
    return np.where(mirrored[:, None, None, None], shifted[:, :, ::-1], shifted)


@torch.no_grad()
def accuracy(model: Classifier, images: Images, device: torch.device, batch_size: int = 64) -> float:
    """Return the fraction of the images that the model classifies correctly."""
    right = 0
    for first in range(0, len(images), batch_size):
        index = range(first, min(first + batch_size, len(images)))
        logits = model(to_tensor(np.stack([images[i] for i in index]), device))
        right += int((logits.argmax(1).cpu() == torch.tensor([images.labels[i] for i in index])).sum())
    return right / len(images)
