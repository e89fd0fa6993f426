"""Building blocks of the U-Nets.

Shapes: B images, C channels, H×W feature map, E entries of the noise-level embedding.
"""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palette.errors import ConfigError

Module = TypeVar("Module", bound=nn.Module)


def zeroed(module: Module) -> Module:
    """Return `module` with all parameters set to zero; a residual branch that ends in it starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def group_norm(channels: int, groups: int | None = None) -> nn.GroupNorm:
    """Return a GroupNorm with `groups` groups. Default: ADM's 32, or fewer (a power of two) where a group would have
    fewer than 4 channels. Raises ConfigError if `groups` does not divide `channels`."""
    if groups is None:
        groups = max(g for g in (1, 2, 4, 8, 16, 32) if channels % g == 0 and (channels // g >= 4 or g == 1))
    if channels % groups:
        raise ConfigError(
            f"network: a layer has {channels} channels, which `groups` {groups} does not divide. "
            f"Choose a divisor of {channels}, or leave `groups` out."
        )
    return nn.GroupNorm(groups, channels)


def head_count(channels: int, head_channels: int) -> int:
    """Return the number of attention heads of `head_channels` channels each; 1 if there are at most that many channels.
    Raises ConfigError if `head_channels` does not divide `channels`."""
    if channels <= head_channels:
        return 1
    if channels % head_channels:
        raise ConfigError(
            f"network: an attention layer has {channels} channels, which `head_channels` {head_channels} does not divide. "
            f"Choose a divisor of {channels}, or leave that resolution out of `attention`."
        )
    return channels // head_channels


class Dropout(nn.Module):
    """`nn.Dropout` with cheaper random numbers on a CPU, where four elements share one 64-bit draw.

    With one draw per element, the draws take a thirtieth of a whole training step there. Each element gets 16 bits, so
    the probability is rounded to a multiple of 2^-16.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda or not (self.training and self.probability):
            return F.dropout(x, self.probability, self.training)
        threshold = max(round((1 - self.probability) * 2**16), 1)
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        bits = draws.view(torch.int16)[: x.numel()].view(x.shape)  # uniform from -2^15 to 2^15 - 1
        return x * (bits < threshold - 2**15).to(x.dtype).mul_(2**16 / threshold)


def check_even(height: int, width: int) -> None:
    """Raise ConfigError unless a feature map of these sides, in its own pixels, can be cut into four equal parts."""
    if height % 2 or width % 2:
        raise ConfigError(
            f"network: `context: local-attention` halves the sides of a feature map of {width}×{height}, which are not even. "
            "Change `image_size`, use fewer `multipliers`, leave that resolution out of `attention`, "
            "or take `context: global-attention`."
        )


def cut(x: Tensor, parts: int) -> Tensor:
    """Cut [B, C, H, W] into `parts` along each side, row by row: → [B·parts², C, H/parts, W/parts]."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, parts, height // parts, parts, width // parts)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, height // parts, width // parts)


def joined(x: Tensor, parts: int) -> Tensor:
    """Reassemble the parts that `cut` made."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch // parts**2, parts, parts, channels, height, width)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, parts * height, parts * width)


class Attention(nn.Module):
    """Self-attention as a residual branch: [B, C, H, W] → [B, C, H, W].
    local: each quarter of the map attends only to itself, instead of all H·W positions to all. Same parameters."""

    def __init__(
        self, channels: int, head_channels: int, groups: int | None = None, local: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        self.heads = head_count(channels, head_channels)
        self.local = local
        self.norm = group_norm(channels, groups)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=bias)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(self.norm(x))
        if self.local:
            check_even(x.shape[2], x.shape[3])
            return x + self.out(joined(self.attend(cut(qkv, 2)), 2))  # type: ignore[no-any-return]
        return x + self.out(self.attend(qkv))  # type: ignore[no-any-return]

    def attend(self, qkv: Tensor) -> Tensor:
        """Attend: [B, 3·C, H, W], all queries first, then all keys, then all values → [B, C, H, W]."""
        batch, triple, height, width = qkv.shape
        heads = qkv.view(batch, 3, self.heads, triple // 3 // self.heads, height * width)
        q, k, v = heads.transpose(-1, -2).unbind(1)  # each [B, heads, H·W, C/heads]
        h = F.scaled_dot_product_attention(q, k, v)
        return h.transpose(-1, -2).reshape(batch, triple // 3, height, width)


class Block(nn.Module):
    """Residual block, with attention after it where the level has it: [B, inputs, H, W], [B, E] → [B, outputs, H, W]."""

    def __init__(self, residual: nn.Module, attention: Attention | None = None) -> None:
        super().__init__()
        self.residual = residual
        self.attention = attention

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h: Tensor = self.residual(x, embedding)
        return h if self.attention is None else self.attention(h)
