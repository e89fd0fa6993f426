"""Torchvision's classifiers of ImageNet, with the preprocessing of their weights, for classification accuracy."""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from palette.scoring.extractors import Arrays, Extractor, Measure, Pixels, Prepare, Source, is_imagenet
from palette.scoring.weights import Weights


def _load(source: Source, model: str, weights: str) -> tuple[Prepare, Measure]:
    """Load a model of torchvision by its name; `weights` name the transforms."""
    import torch
    from torchvision import models

    from palette.scoring.loading import array, filled, state

    network = filled(models.get_model(model, weights=None), state(source), source)
    transform = models.get_weight(weights).transforms()
    known = is_imagenet(source.description["classes"])

    def prepare(image: Pixels) -> npt.NDArray[np.float32]:
        prepared: npt.NDArray[np.float32] = transform(Image.fromarray(image)).numpy()
        return prepared

    def measure(outputs: npt.NDArray[np.float32], _: Any, labels: npt.NDArray[np.int64]) -> Arrays:
        logits = network(torch.from_numpy(outputs).to(source.device).contiguous(memory_format=torch.channels_last))
        return {"correct": array(logits.argmax(1)) == labels} if known else {}

    return prepare, measure


EXTRACTORS: dict[str, Extractor] = {
    "resnet50": Extractor(
        partial(_load, model="resnet50", weights="ResNet50_Weights.IMAGENET1K_V1"),
        resize="Pillow bilinear to 256 x 256, middle 224 x 224 (torchvision)",
        label="ResNet-50",
        weights=Weights(
            file="resnet50-0676ba61.pth",
            url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
            sha256="0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
            about="torchvision's ResNet-50, IMAGENET1K_V1, for classification accuracy",
        ),
        flops=8.18e9,
        imagenet=True,
    ),
    "efficientnet-b0": Extractor(
        partial(_load, model="efficientnet_b0", weights="EfficientNet_B0_Weights.IMAGENET1K_V1"),
        resize="Pillow bicubic to 256 x 256, middle 224 x 224 (torchvision)",
        label="EfficientNet-B0",
        weights=Weights(
            file="efficientnet_b0_rwightman-7f5810bc.pth",
            url="https://download.pytorch.org/models/efficientnet_b0_rwightman-7f5810bc.pth",
            sha256="7f5810bc96def8f7552d5b7e68d53c4786f81167d28291b21c0d90e1fca14934",
            about="torchvision's EfficientNet-B0, IMAGENET1K_V1, for classification accuracy",
        ),
        flops=0.772e9,
        imagenet=True,
    ),
}
