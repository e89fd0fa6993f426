"""What is measured on each image: features and class probabilities of a network, and its differences from the original."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from cleanfid.inception_torchscript import InceptionV3W
from cleanfid.resize import build_resizer
from torch import Tensor

from palette.errors import DataError
from palette.files import replacing, sha256
from palette.scoring.classifier import load_classifier, to_tensor
from palette.scoring.pixels import chroma, psnr, ssim

Pixels = npt.NDArray[np.uint8]
Arrays = dict[str, npt.NDArray[Any]]
BATCH = 32
"""Images per pass of the network. The last batch is filled up, so that an image's features do not depend on its neighbours."""


@dataclass(frozen=True)
class Network:
    """A feature network, ready to run: uint8 [B,H,W,3] → features float32 [B,D] and class probabilities float32 [B,K]."""

    forward: Callable[[Pixels], tuple[Tensor, Tensor]]
    classes: list[str] | None
    """What the probabilities are of; None where they are not the dataset's own classes."""


@dataclass(frozen=True)
class Pair:
    """An image, the original that it should resemble, and the class of that."""

    output: Pixels
    original: Pixels
    label: int


def load_network(folder: Path, description: dict[str, Any], weights: Path | None, device: torch.device) -> Network:
    """The network that an `extractor.json` describes.

    folder: that of the extractor stage. weights: the pretrained file, for `inception`.
    Raises DataError if the bytes are not those described.
    """
    return NETWORKS[description["kind"]](folder, description, weights, device)


def _photos(folder: Path, description: dict[str, Any], weights: Path | None, device: torch.device) -> Network:
    path = _checked(folder / "classifier.safetensors", description)
    model = load_classifier(path, description["channels"], len(description["classes"]), device)

    def forward(pixels: Pixels) -> tuple[Tensor, Tensor]:
        features = model.features(to_tensor(pixels, device))
        return features, model.head(features).softmax(1)

    return Network(forward, description["classes"])


def _inception(folder: Path, description: dict[str, Any], weights: Path | None, device: torch.device) -> Network:
    """Clean-fid's network and preprocessing in its mode `clean`: bicubic with anti-aliasing to 299 x 299, not rounded."""
    path = _checked(weights or folder / description["file"], description)
    model = InceptionV3W(str(path.parent), download=False, resize_inside=False).to(device).eval()
    resize = build_resizer("clean")
    output = model.base.output.weight.float()

    def forward(pixels: Pixels) -> tuple[Tensor, Tensor]:
        resized = np.stack([resize(image) for image in pixels]).transpose(0, 3, 1, 2)
        features = model(torch.from_numpy(resized).to(device)).float()
        return features, (features @ output.T).softmax(
            1
        )  # the Inception Score's softmax has no bias (Salimans et al. 2016)

    return Network(forward, None)


NETWORKS: dict[str, Callable[[Path, dict[str, Any], Path | None, torch.device], Network]] = {
    "photos": _photos,
    "inception": _inception,
}
"""Kind of extractor → its loader (folder of the extractor stage, its description, pretrained file, device)."""


def _checked(path: Path, description: dict[str, Any]) -> Path:
    if not path.is_file() or sha256(path) != description["sha256"]:
        raise DataError(
            f"{path}: missing, or not the weights that extractor.json describes. Delete that folder and run `snakemake` again."
        )
    return path


@torch.no_grad()
def measure(pairs: Iterable[Pair], network: Network) -> Arrays:
    """Everything that is measured on each of N images, in their order.

    features float32 [N,D], probabilities float32 [N,K], psnr (dB), ssim, chroma float64 [N]; and correct bool [N] where the
    network knows the dataset's classes.
    """
    parts = [_measure_batch(batch, network) for batch in _batches(pairs)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _batches(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    batch: list[Pair] = []
    for pair in pairs:
        batch.append(pair)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _measure_batch(batch: list[Pair], network: Network) -> Arrays:
    filled = np.stack([pair.output for pair in batch + batch[:1] * (BATCH - len(batch))])
    features, probabilities = (value[: len(batch)].cpu().numpy() for value in network.forward(filled))
    arrays: Arrays = {
        "features": features,
        "probabilities": probabilities,
        "psnr": np.array([psnr(pair.output, pair.original) for pair in batch]),
        "ssim": np.array([ssim(pair.output, pair.original) for pair in batch]),
        "chroma": np.array([chroma(pair.output) for pair in batch]),
    }
    if network.classes is not None:
        arrays["correct"] = probabilities.argmax(1) == np.array([pair.label for pair in batch])
    return arrays


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write an `.npz` atomically; equal arrays give equal bytes (NumPy dates the entries 1980-01-01)."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
