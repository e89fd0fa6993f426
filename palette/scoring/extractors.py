"""The networks that measure images, each with the preprocessing of its published scores."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from palette.errors import DataError
from palette.scoring.classifier import load_classifier, to_tensor
from palette.scoring.extractor_facts import is_imagenet
from palette.scoring.inception import Inception, legacy_pytorch, torchscript
from palette.system.files import sha256

Pixels = npt.NDArray[np.uint8]
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Network:
    """A network, ready to run.

    prepare: converts an image uint8 [H,W,3] to the network's input, an array of a fixed shape; runs in threads.
    measure: (outputs [B,…], originals [B,…], labels int64 [B]) → measurements, each [B,…]. The originals are those of
    the outputs; they are used only if `pairs` is True.
    """

    prepare: Callable[[Pixels], npt.NDArray[Any]]
    measure: Callable[[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.int64]], Arrays]
    pairs: bool = False


@dataclass(frozen=True)
class Source:
    """Files and settings from which a network is loaded."""

    folder: Path
    """Folder of the extractor stage."""
    description: dict[str, Any]
    """The stage's `extractor.json`."""
    weights: Path | None
    """The pretrained file."""
    device: torch.device


def load_network(folder: Path, description: dict[str, Any], weights: Path | None, device: torch.device) -> Network:
    """Load the network that an `extractor.json` describes.

    folder: that of the extractor stage. weights: the pretrained file, if there is one.
    Raises DataError if the files do not match the description.
    """
    return NETWORKS[description["kind"]](Source(folder, description, weights, device))


def _array(values: Tensor) -> npt.NDArray[Any]:
    return values.cpu().numpy()


def _as_is(image: Pixels) -> Pixels:
    return image


def _checked(source: Source, path: Path | None) -> Path:
    if path is None or not path.is_file() or sha256(path) != source.description["sha256"]:
        raise DataError(
            f"{path or source.folder}: missing, or not the weights that extractor.json describes. "
            f"Delete {source.folder} and run `snakemake` again."
        )
    return path


def _state(source: Source) -> dict[str, Tensor]:
    """Load the tensors of the pretrained file. Nothing else is unpickled."""
    path = _checked(source, source.weights)
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds of errors for bad files
        raise DataError(f"{path}: cannot be read as weights ({error}). Delete it and get it again.") from None
    return state


def _filled(model: nn.Module, state: dict[str, Tensor], source: Source) -> nn.Module:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(f"{source.weights}: not the weights of this network ({error}).") from None
    return model.to(source.device).to(memory_format=torch.channels_last).eval()


# ------------------------------------------------------------------------------------------- features of one image


def _photos(source: Source) -> Network:
    path, classes = _checked(source, source.folder / "classifier.safetensors"), source.description["classes"]
    model = load_classifier(path, source.description["channels"], len(classes), source.device)

    def measure(outputs: Pixels, _: Pixels, labels: npt.NDArray[np.int64]) -> Arrays:
        features = model.features(to_tensor(outputs, source.device))
        probabilities = _array(model.head(features).softmax(1))
        correct = probabilities.argmax(1) == labels
        return {"features": _array(features), "probabilities": probabilities, "correct": correct}

    return Network(_as_is, measure)


def _pixels(_: Source) -> Network:
    """Return a placeholder without a network: images stay unchanged, and nothing is measured beyond their pixels."""
    return Network(_as_is, lambda outputs, originals, labels: {})


def _inception(source: Source, mode: str) -> Network:
    tensors = mode == "legacy_pytorch"
    made = legacy_pytorch(_state(source)) if tensors else torchscript(_checked(source, source.weights), mode)
    model = made.network.to(source.device).to(memory_format=torch.channels_last).eval()
    return Network(made.prepare, partial(_measure_inception, model, source.device))


def _measure_inception(model: Inception, device: torch.device, outputs: npt.NDArray[Any], *_: Any) -> Arrays:
    images = torch.from_numpy(outputs).to(device).permute(0, 3, 1, 2).float()
    features, spatial, probabilities = model(images.contiguous(memory_format=torch.channels_last))
    arrays = {"features": _array(features), "probabilities": _array(probabilities)}
    return arrays if spatial is None else {**arrays, "spatial": _array(spatial)}


def _dinov2(source: Source) -> Network:
    """Load DINOv2 as in Stein et al. 2023.

    Pillow's bicubic to 224 x 224, ImageNet's mean and deviation, the class token after the last norm.
    """
    from palette.scoring.dinov2 import SIDE, vision_transformer

    state = _state(source)
    model = _filled(*vision_transformer(state), source)

    def prepare(image: Pixels) -> npt.NDArray[np.float32]:
        return _normalized(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC))

    def measure(outputs: npt.NDArray[np.float32], *_: Any) -> Arrays:
        return {"features": _array(model(torch.from_numpy(outputs).to(source.device)))}

    return Network(prepare, measure)


MEAN, DEVIATION = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
"""Mean and standard deviation of ImageNet's colors, on [0,1]."""


def _normalized(image: Image.Image) -> npt.NDArray[np.float32]:
    """Convert an image to float32 [3,H,W], normalized by ImageNet's mean and deviation."""
    scaled = (np.asarray(image, np.float32) / np.float32(255) - MEAN) / DEVIATION
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)


# ------------------------------------------------------------------------------------------------ ImageNet's classes


def _classifier(source: Source, name: str) -> Network:
    """Load a torchvision classifier with the preprocessing of its weights: sides to 256, the center 224 x 224."""
    from torchvision import models

    architecture, enum = {
        "resnet50": (models.resnet50, models.ResNet50_Weights.IMAGENET1K_V1),
        "efficientnet-b0": (models.efficientnet_b0, models.EfficientNet_B0_Weights.IMAGENET1K_V1),
    }[name]
    model = _filled(architecture(weights=None), _state(source), source)
    transform = enum.transforms()
    known = is_imagenet(source.description["classes"])

    def prepare(image: Pixels) -> npt.NDArray[np.float32]:
        prepared: npt.NDArray[np.float32] = transform(Image.fromarray(image)).numpy()
        return prepared

    def measure(outputs: npt.NDArray[np.float32], _: Any, labels: npt.NDArray[np.int64]) -> Arrays:
        logits = model(torch.from_numpy(outputs).to(source.device).contiguous(memory_format=torch.channels_last))
        return {"correct": _array(logits.argmax(1)) == labels} if known else {}

    return Network(prepare, measure)


# ------------------------------------------------------------------------------------------------ two images


def _lpips(source: Source) -> Network:
    """Load LPIPS 0.1 with AlexNet (Zhang et al. 2018): heads and formulas of the package, trunk of the weights file."""
    import lpips

    state = _state(source)
    model = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    # The package's `slice2.3.weight` is torchvision's `features.3.weight`.
    names = {name: "features." + name.partition(".")[2] for name in model.net.state_dict()}
    _filled(model.net, {ours: state[theirs] for ours, theirs in names.items() if theirs in state}, source)
    model = model.to(source.device).eval()

    def measure(outputs: npt.NDArray[np.float32], originals: npt.NDArray[np.float32], _: Any) -> Arrays:
        first, second = (torch.from_numpy(images).to(source.device) for images in (outputs, originals))
        return {"lpips": _array(model(first, second).flatten()).astype(np.float64)}

    return Network(_minus_one_to_one, measure, pairs=True)


def _minus_one_to_one(image: Pixels) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray((image.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1))


def _ms_ssim(source: Source) -> Network:
    """Return multi-scale structural similarity with five scales (Wang et al. 2003), mean over the channels."""
    from pytorch_msssim import ms_ssim

    def prepare(image: Pixels) -> Pixels:
        return np.ascontiguousarray(image.transpose(2, 0, 1))

    def measure(outputs: Pixels, originals: Pixels, _: Any) -> Arrays:
        first, second = (torch.from_numpy(images).to(source.device).float() for images in (outputs, originals))
        values = ms_ssim(first, second, data_range=255, size_average=False)
        return {"ms-ssim": _array(values).astype(np.float64)}

    return Network(prepare, measure, pairs=True)


NETWORKS: dict[str, Callable[[Source], Network]] = {
    "photos": _photos,
    "pixels": _pixels,
    "inception": partial(_inception, mode="clean"),
    "inception-legacy-tensorflow": partial(_inception, mode="legacy_tensorflow"),
    "inception-legacy-pytorch": partial(_inception, mode="legacy_pytorch"),
    "resnet50": partial(_classifier, name="resnet50"),
    "efficientnet-b0": partial(_classifier, name="efficientnet-b0"),
    "dinov2": _dinov2,
    "lpips": _lpips,
    "ms-ssim": _ms_ssim,
}
"""Kind of extractor → its loader."""

RESIZES = {
    "photos": "none",
    "pixels": "none",
    "inception": "Pillow bicubic to 299 x 299 with anti-aliasing, not rounded (clean-fid, mode clean)",
    "inception-legacy-tensorflow": "TensorFlow 1 bilinear to 299 x 299 (clean-fid, mode legacy_tensorflow)",
    "inception-legacy-pytorch": "PyTorch bilinear to 299 x 299 without anti-aliasing (clean-fid, mode legacy_pytorch)",
    "resnet50": "Pillow bilinear to 256 x 256, middle 224 x 224 (torchvision)",
    "efficientnet-b0": "Pillow bicubic to 256 x 256, middle 224 x 224 (torchvision)",
    "dinov2": "Pillow bicubic to 224 x 224",
    "lpips": "none",
    "ms-ssim": "none",
}
"""Kind of extractor → how images are resized for it; part of a score's protocol."""
