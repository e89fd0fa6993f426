"""The parts of the ADM U-Net (Dhariwal & Nichol 2021, appendix A), small to large.

Shapes: B images, C channels, H×W feature map, E entries of the noise-level embedding.
"""

import math
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palette.errors import ConfigError

Module = TypeVar("Module", bound=nn.Module)
Resample = Literal["up", "down"] | None


def zeroed(module: Module) -> Module:
    """`module` with all its parameters set to zero: at its end, a residual branch starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def group_norm(channels: int) -> nn.GroupNorm:
    """ADM's 32 groups, or fewer (a power of two) where a group would have less than 4 channels."""
    groups = max(g for g in (1, 2, 4, 8, 16, 32) if channels % g == 0 and (channels // g >= 4 or g == 1))
    return nn.GroupNorm(groups, channels)


def head_count(channels: int, head_channels: int) -> int:
    """Heads of `head_channels` channels each; one head where the feature map has no more than that."""
    if channels <= head_channels:
        return 1
    if channels % head_channels:
        raise ConfigError(
            f"network: an attention layer has {channels} channels, which `head_channels` {head_channels} does not divide. "
            f"Choose a divisor of {channels}, or leave that resolution out of `attention`."
        )
    return channels // head_channels


def sinusoids(value: Tensor, size: int) -> Tensor:
    """[B] float → [B, size] float32: cos and sin of `value` at `size`/2 frequencies from 1 down to almost 1/10000 (DDPM).

    `value` is in radians of the fastest: what is to be told apart must differ by a fair share of 1.
    """
    half = size // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32, device=value.device) * (-math.log(10_000) / half))
    angles = value.float()[:, None] * frequencies  # [B, half]
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def resample(x: Tensor, direction: Resample) -> Tensor:
    """[B, C, H, W] → half the side by averaging, or twice the side by repeating, or as it is."""
    if direction == "down":
        return F.avg_pool2d(x, 2)
    if direction == "up":
        return F.interpolate(x, scale_factor=2.0, mode="nearest")
    return x


class ResidualBlock(nn.Module):
    """[B, inner, H, W], [B, E] → [B, outer, H', W'] with H' = H, H/2 (`down`) or 2H (`up`)."""

    def __init__(self, inner: int, outer: int, embedding: int, dropout: float, direction: Resample = None) -> None:
        super().__init__()
        self.direction: Resample = direction
        self.norm1 = group_norm(inner)
        self.conv1 = nn.Conv2d(inner, outer, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outer)
        self.norm2 = group_norm(outer)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(nn.Conv2d(outer, outer, 3, padding=1))
        self.skip = nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(resample(F.silu(self.norm1(x)), self.direction))  # [B, outer, H', W']
        scale, shift = self.modulation(F.silu(embedding))[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        h = self.conv2(self.dropout(F.silu(h)))
        return h + self.skip(resample(x, self.direction))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """[B, C, H, W] → the same: self-attention over all H·W positions, as a residual branch."""

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.heads = head_count(channels, head_channels)
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        heads = self.qkv(self.norm(x)).view(batch, 3, self.heads, channels // self.heads, height * width)
        q, k, v = heads.transpose(-1, -2).unbind(1)  # each [B, heads, H·W, C/heads]
        h = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(x.shape)
        return x + self.out(h)  # type: ignore[no-any-return]


class Block(nn.Module):
    """A residual block, followed by attention where the resolution has it."""

    def __init__(self, residual: ResidualBlock, attention: Attention | None = None) -> None:
        super().__init__()
        self.residual = residual
        self.attention = attention

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h: Tensor = self.residual(x, embedding)
        return h if self.attention is None else self.attention(h)
