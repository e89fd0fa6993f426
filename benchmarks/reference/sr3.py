"""SR3's U-Net as the unofficial Palette code has it: the mathematics written out plainly, with that code's module
names.

A reference for tests. Levels with attention are given by their side in pixels, which starts at `image_size` and is
halved.
"""

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn


class Swish(nn.Module):
    """x · sigmoid(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


class PositionalEncoding(nn.Module):
    """[B, 1] → [B, 1, size]: sin, then cos, of γ·f, with `size`/2 frequencies f from 1 down to almost 1/10000."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.count = size // 2

    def forward(self, gamma: Tensor) -> Tensor:
        steps = torch.arange(self.count, dtype=gamma.dtype, device=gamma.device) / self.count
        angles = gamma[..., None] * torch.exp(-math.log(1e4) * steps)
        return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)


class FeatureWiseAffine(nn.Module):
    """Add a projection of the embedding to each channel."""

    def __init__(self, embedding: int, channels: int) -> None:
        super().__init__()
        self.noise_func = nn.Sequential(nn.Linear(embedding, channels))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return x + self.noise_func(embedding).reshape(len(x), -1, 1, 1)  # type: ignore[no-any-return]


class Block(nn.Module):
    """GroupNorm, Swish, Dropout, convolution."""

    def __init__(self, inner: int, outer: int, groups: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.GroupNorm(groups, inner), Swish(), nn.Dropout(dropout), nn.Conv2d(inner, outer, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)  # type: ignore[no-any-return]


class ResnetBlock(nn.Module):
    """[B, inner, H, W] → [B, outer, H, W]. Dropout is in the second half only."""

    def __init__(self, inner: int, outer: int, embedding: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.noise_func = FeatureWiseAffine(embedding, outer)
        self.block1 = Block(inner, outer, groups)
        self.block2 = Block(outer, outer, groups, dropout)
        self.res_conv = nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.block2(self.noise_func(self.block1(x), embedding)) + self.res_conv(x)  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """softmax(q·k/√C) v over all positions, one head."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).flatten(2).chunk(3, dim=1)  # each [B, C, H·W]
        weights = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / math.sqrt(x.shape[1]), dim=-1)
        return x + self.out(torch.einsum("bts,bcs->bct", weights, v).view_as(x))  # type: ignore[no-any-return]


class ResnetBlocWithAttn(nn.Module):
    """A residual block, optionally followed by attention."""

    def __init__(self, inner: int, outer: int, embedding: int, groups: int, dropout: float, attends: bool) -> None:
        super().__init__()
        self.res_block = ResnetBlock(inner, outer, embedding, groups, dropout)
        if attends:
            self.attn = SelfAttention(outer, groups)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.res_block(x, embedding)
        return self.attn(h) if hasattr(self, "attn") else h  # type: ignore[no-any-return]


class Downsample(nn.Module):
    """Halve the side with a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]


class Upsample(nn.Module):
    """Double the side by repeating pixels, then convolve."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.up(x))  # type: ignore[no-any-return]


class UNet(nn.Module):
    """x [B, in_channel, H, W], time (γ) [B, 1] → [B, out_channel, H, W]. The middle always has attention."""

    def __init__(
        self,
        in_channel: int = 6,
        out_channel: int = 3,
        inner_channel: int = 32,
        norm_groups: int = 32,
        channel_mults: Sequence[int] = (1, 2, 4, 8, 8),
        attn_res: Collection[int] = (8,),
        res_blocks: int = 3,
        dropout: float = 0.0,
        image_size: int = 128,
    ) -> None:
        super().__init__()
        self.noise_level_mlp = nn.Sequential(
            PositionalEncoding(inner_channel),
            nn.Linear(inner_channel, 4 * inner_channel),
            Swish(),
            nn.Linear(4 * inner_channel, inner_channel),
        )
        last = len(channel_mults) - 1

        def block(inner: int, outer: int, attends: bool) -> ResnetBlocWithAttn:
            return ResnetBlocWithAttn(inner, outer, inner_channel, norm_groups, dropout, attends)

        channels = inner_channel
        kept = [channels]
        self.downs = nn.ModuleList([nn.Conv2d(in_channel, channels, 3, padding=1)])
        for level, multiplier in enumerate(channel_mults):
            for _ in range(res_blocks):
                self.downs.append(block(channels, inner_channel * multiplier, image_size // 2**level in attn_res))
                channels = inner_channel * multiplier
                kept.append(channels)
            if level < last:
                self.downs.append(Downsample(channels))
                kept.append(channels)

        self.mid = nn.ModuleList([block(channels, channels, True), block(channels, channels, False)])

        self.ups = nn.ModuleList()
        for level in range(last, -1, -1):
            outer = inner_channel * channel_mults[level]
            for _ in range(res_blocks + 1):
                self.ups.append(block(channels + kept.pop(), outer, image_size // 2**level in attn_res))
                channels = outer
            if level > 0:
                self.ups.append(Upsample(channels))

        self.final_conv = Block(channels, out_channel, norm_groups)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        embedding = self.noise_level_mlp(time)
        kept = []
        for layer in self.downs:
            x = layer(x, embedding) if isinstance(layer, ResnetBlocWithAttn) else layer(x)
            kept.append(x)
        for layer in self.mid:
            x = layer(x, embedding)
        for layer in self.ups:
            takes_skip = isinstance(layer, ResnetBlocWithAttn)
            x = layer(torch.cat([x, kept.pop()], dim=1), embedding) if takes_skip else layer(x)
        return self.final_conv(x)  # type: ignore[no-any-return]
