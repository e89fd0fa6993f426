"""DINOv2's vision transformer: timm's layers, filled from the original file of weights."""

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 224
"""Side of the input images in pixels."""
PATCH = 14
GRID = SIDE // PATCH
HEAD = 64
"""Channels per attention head, in all sizes of DINOv2."""


def vision_transformer(state: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """Build a network of the size of the weights, and return it with the tensors to load into it.

    The network converts images float32 [B,3,224,224] to class tokens [B,D].
    """
    width = state["pos_embed"].shape[-1]
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    model = VisionTransformer(
        img_size=SIDE,
        patch_size=PATCH,
        embed_dim=width,
        depth=depth,
        num_heads=width // HEAD,
        init_values=1.0,
        num_classes=0,
    )
    kept = {name: value for name, value in state.items() if name != "mask_token"}  # used in training only
    return model, {**kept, "pos_embed": _positions(state["pos_embed"])}


def _positions(embedding: Tensor) -> Tensor:
    """Interpolate position embeddings [1,1+37*37,D], for images of 518 pixels, to [1,1+16*16,D] as DINOv2's own code.

    That code adds 0.1 to the number of patches, to avoid rounding errors, and so stretches the grid a little.
    """
    side = round((embedding.shape[1] - 1) ** 0.5)
    if side == GRID:
        return embedding
    grid = embedding[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    small = F.interpolate(grid, scale_factor=(GRID + 0.1) / side, mode="bicubic")
    return torch.cat([embedding[:, :1], small.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
