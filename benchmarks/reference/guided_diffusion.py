"""ADM's U-Net as in the unofficial Palette code: the mathematics written out plainly, with that code's module names.

A reference for tests and benchmarks. It is as wasteful as that code: GroupNorm and softmax cast to float32 and back,
SiLU takes two steps, the matrix of attention weights is built, and attention is recomputed in every backward pass.
Besides the sizes, the only options are dropout and the heads of attention.

Levels with attention are given by their downsampling factor (1, 2, 4, …), not by their side in pixels.
"""

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def gamma_embedding(gamma: Tensor, size: int) -> Tensor:
    """[B] → [B, size]: cos, then sin, of γ·f, with `size`/2 frequencies f from 1 down to almost 1/10000."""
    count = size // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(count, dtype=torch.float32, device=gamma.device) / count)
    angles = torch.outer(gamma.float(), frequencies)
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)


class SiLU(nn.Module):
    """x · sigmoid(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


class GroupNorm32(nn.GroupNorm):
    """GroupNorm with 32 groups, in float32."""

    def __init__(self, channels: int) -> None:
        super().__init__(32, channels)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).type(x.dtype)


class ResBlock(nn.Module):
    """[B, inner, H, W], [B, E] → [B, outer, H', W'], with H' = H, H/2 (`down`) or 2H (`up`)."""

    def __init__(
        self, inner: int, embedding: int, outer: int, dropout: float, down: bool = False, up: bool = False
    ) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(GroupNorm32(inner), SiLU(), nn.Conv2d(inner, outer, 3, padding=1))
        self.emb_layers = nn.Sequential(SiLU(), nn.Linear(embedding, 2 * outer))
        self.out_layers = nn.Sequential(
            GroupNorm32(outer), SiLU(), nn.Dropout(dropout), nn.Conv2d(outer, outer, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1)
        self.resample: nn.Module = nn.Identity()
        if down:
            self.resample = nn.AvgPool2d(2)
        if up:
            self.resample = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        norm, silu, conv = self.in_layers
        h = conv(self.resample(silu(norm(x))))
        x = self.resample(x)
        scale, shift = self.emb_layers(embedding)[:, :, None, None].chunk(2, dim=1)
        norm, *rest = self.out_layers
        h = norm(h) * (1 + scale) + shift
        for layer in rest:
            h = layer(h)
        return self.skip_connection(x) + h  # type: ignore[no-any-return]


class AttentionBlock(nn.Module):
    """[B, C, H, W] → the same. The channels of qkv are the queries, keys and values, head by head."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm32(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return self.attend(x)
        return checkpoint(self.attend, x, use_reentrant=True, preserve_rng_state=False)

    def attend(self, x: Tensor) -> Tensor:
        batch, channels, *sides = x.shape
        flat = x.reshape(batch, channels, -1)
        each = channels // self.heads
        q, k, v = self.qkv(self.norm(flat)).reshape(batch * self.heads, 3 * each, -1).split(each, dim=1)
        scale = each**-0.25  # on both, so that half precision does not overflow
        weights = torch.einsum("nct,ncs->nts", q * scale, k * scale)
        weights = torch.softmax(weights.float(), dim=-1).type(weights.dtype)
        h = torch.einsum("nts,ncs->nct", weights, v).reshape(batch, channels, -1)
        return (flat + self.proj_out(h)).reshape(batch, channels, *sides)  # type: ignore[no-any-return]


class Stage(nn.Sequential):
    """Blocks in sequence. Residual blocks also receive the embedding."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x, embedding) if isinstance(layer, ResBlock) else layer(x)
        return x


class UNet(nn.Module):
    """x [B, in_channel, H, W], gammas [B] or [B, 1] → [B, out_channel, H, W].

    num_head_channels: channels of an attention head; -1: one head. attn_res: downsampling factors with attention,
    besides the middle. Weights are initialized randomly by PyTorch; last layers are not zero.
    """

    def __init__(
        self,
        in_channel: int = 6,
        inner_channel: int = 64,
        out_channel: int = 3,
        res_blocks: int = 2,
        attn_res: Collection[int] = (16,),
        dropout: float = 0.2,
        channel_mults: Sequence[int] = (1, 2, 4, 8),
        num_head_channels: int = 32,
    ) -> None:
        super().__init__()
        self.inner_channel = inner_channel
        wide = 4 * inner_channel
        self.cond_embed = nn.Sequential(nn.Linear(inner_channel, wide), SiLU(), nn.Linear(wide, wide))

        def attention(channels: int) -> AttentionBlock:
            return AttentionBlock(channels, 1 if num_head_channels == -1 else channels // num_head_channels)

        def stage(inner: int, outer: int, reduction: int) -> Stage:
            blocks: list[nn.Module] = [ResBlock(inner, wide, outer, dropout)]
            return Stage(*blocks, *([attention(outer)] if reduction in attn_res else []))

        channels = inner_channel * channel_mults[0]
        self.input_blocks = nn.ModuleList([Stage(nn.Conv2d(in_channel, channels, 3, padding=1))])
        kept = [channels]
        last = len(channel_mults) - 1
        for level, multiplier in enumerate(channel_mults):
            for _ in range(res_blocks):
                self.input_blocks.append(stage(channels, inner_channel * multiplier, 2**level))
                channels = inner_channel * multiplier
                kept.append(channels)
            if level < last:
                self.input_blocks.append(Stage(ResBlock(channels, wide, channels, dropout, down=True)))
                kept.append(channels)

        self.middle_block = Stage(
            ResBlock(channels, wide, channels, dropout),
            attention(channels),
            ResBlock(channels, wide, channels, dropout),
        )

        self.output_blocks = nn.ModuleList()
        for level in range(last, -1, -1):
            outer = inner_channel * channel_mults[level]
            for i in range(res_blocks + 1):
                blocks = stage(channels + kept.pop(), outer, 2**level)
                channels = outer
                if level > 0 and i == res_blocks:
                    blocks.append(ResBlock(channels, wide, channels, dropout, up=True))
                self.output_blocks.append(blocks)

        self.out = nn.Sequential(GroupNorm32(channels), SiLU(), nn.Conv2d(channels, out_channel, 3, padding=1))

    def forward(self, x: Tensor, gammas: Tensor) -> Tensor:
        embedding = self.cond_embed(gamma_embedding(gammas.reshape(-1), self.inner_channel))
        h, kept = x.float(), []
        for blocks in self.input_blocks:
            h = blocks(h, embedding)
            kept.append(h)
        h = self.middle_block(h, embedding)
        for blocks in self.output_blocks:
            h = blocks(torch.cat([h, kept.pop()], dim=1), embedding)
        return self.out(h)  # type: ignore[no-any-return]
