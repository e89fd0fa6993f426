"""DINOv2's vision transformer as in Stein et al. 2023: timm's layers, filled from the original file of weights.

Pillow's bicubic to 224 x 224, ImageNet's mean and deviation, the class token after the last norm.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from palette.scoring.extractors import Arrays, Extractor, Measure, Pixels, Prepare, Source
from palette.scoring.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor, nn

SIDE = 224
"""Side of the input images in pixels."""
PATCH = 14
GRID = SIDE // PATCH
HEAD = 64
"""Channels per attention head, in all sizes of DINOv2."""
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
"""Of ImageNet's colors, on [0,1]."""


def _load(source: Source) -> tuple[Prepare, Measure]:
    import torch

    from palette.scoring.loading import array, filled, state

    model = filled(*vision_transformer(state(source)), source)

    def measure(outputs: npt.NDArray[np.float32], *_: Any) -> Arrays:
        return {"features": array(model(torch.from_numpy(outputs).to(source.device)))}

    return _prepare, measure


def _prepare(image: Pixels) -> npt.NDArray[np.float32]:
    resized = np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)
    normalized = (resized / np.float32(255) - MEAN) / DEVIATION
    return np.ascontiguousarray(normalized.transpose(2, 0, 1), np.float32)


def vision_transformer(state: "dict[str, Tensor]") -> "tuple[nn.Module, dict[str, Tensor]]":
    """Build a network of the size of the weights, and return it with the tensors to load into it.
    The network converts images float32 [B,3,224,224] to class tokens [B,D]."""
    from timm.models.vision_transformer import VisionTransformer

    width = state["pos_embed"].shape[-1]
    model = VisionTransformer(
        img_size=SIDE,
        patch_size=PATCH,
        embed_dim=width,
        depth=1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks.")),
        num_heads=width // HEAD,
        init_values=1.0,
        num_classes=0,
    )
    tensors = {name: value for name, value in state.items() if name != "mask_token"}  # used in training only
    return model, {**tensors, "pos_embed": _positions(state["pos_embed"])}


def _positions(embedding: "Tensor") -> "Tensor":
    """Interpolate position embeddings [1,1+37*37,D], for images of 518 pixels, to [1,1+16*16,D] as DINOv2's own code.
    That code adds 0.1 to the number of patches, to avoid rounding errors, and so stretches the grid a little."""
    import torch
    from torch.nn import functional as F

    side = round((embedding.shape[1] - 1) ** 0.5)
    if side == GRID:
        return embedding
    grid = embedding[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    small = F.interpolate(grid, scale_factor=(GRID + 0.1) / side, mode="bicubic")
    return torch.cat([embedding[:, :1], small.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


EXTRACTORS: dict[str, Extractor] = {
    "dinov2": Extractor(
        _load,
        resize="Pillow bicubic to 224 x 224",
        label="DINOv2",
        weights=Weights(
            file="dinov2_vitl14_pretrain.pth",
            url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
            sha256="d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
            about="DINOv2 ViT-L/14, for FD-DINOv2",
        ),
        flops=162e9,
        package="timm",
    ),
}
