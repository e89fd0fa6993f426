"""The U-Net that both backbones share: levels, skip connections, and the variants of the paper's Table 5.

Its parts, residual blocks and changes of resolution, are in `adm.py` and `sr3.py`.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from palette.config.models import Network
from palette.errors import ConfigError
from palette.model.blocks import Attention, Block, check_even, group_norm, zeroed


def check_size(height: int, width: int, reduction: int) -> None:
    """Raise ConfigError unless both sides, in pixels, are multiples of the network's reduction."""
    if height % reduction or width % reduction:
        raise ConfigError(
            f"network: images of {width}×{height} pixels do not fit; `patch_size` and the number of `multipliers` ask for "
            f"sides that are multiples of {reduction}. Change `image_size`, or use fewer multipliers or a smaller patch."
        )


class Level(NamedTuple):
    """One resolution of the feature map."""

    side: int
    """Side of the feature map in its own pixels, for images of the size that the network is built for."""
    channels: int
    attends: bool
    """True if each block is followed by attention."""
    dilations: tuple[int, ...]
    """Dilations of the decoder's residual blocks, one after each skip connection. The encoder has all but the last."""
    repeats: int
    """Encoder blocks per skip connection."""


def level_of(network: Network, multiplier: int, side: int) -> Level:
    """Return the level at `side`: with the network's context if `network.attention` names it, plain otherwise."""
    named = side in network.attention
    dilations = (1,) * (network.blocks + 1)
    if named and network.context == "dilated":
        # Dilated by the whole side or more, a kernel's outer weights would only ever see the padding.
        dilations = tuple(min(2**i, max(side // 2, 1)) for i in range(network.blocks + 2))
    repeats = 2 if named and network.context == "more-blocks" else 1
    return Level(side, network.channels * multiplier, named and network.attends, dilations, repeats)


def levels_of(network: Network, image_size: int) -> list[Level]:
    """Return all levels, finest first."""
    sides = network.sides(image_size)
    return [level_of(network, multiplier, side) for multiplier, side in zip(network.multipliers, sides, strict=True)]


class UNet(nn.Module):
    """Network: x float [B, in_channels, H, W], log_snr float [B] → [B, out_channels, H, W].

    x: the condition and the noisy image. log_snr: λ = log(γ/(1-γ)) of the noisy image as the network sees it.
    image_size determines which levels are special (`network.attention` names sides of feature maps of images of that
    size); images of other sizes, square or not, work if their sides are multiples of `network.reduction`. A network
    outputs zero until it is trained.

    Table 5 of the paper varies how distant pixels exchange information. It leaves the details open. Here, for each
    value of `network.context`:
    global-attention: after each block of the levels in `attention`, and always in the middle.
    local-attention: in the same places, but within each quarter of the feature map, without a halo. Same parameters.
    dilated: no attention. The levels in `attention` have one more residual block in the encoder and in the decoder; the
        dilation doubles from block to block: 1, 2, 4 in the encoder and 1, 2, 4, 8 in the decoder with the paper's two
        blocks, but never more than half the side.
    more-blocks: no attention. The encoder has twice as many residual blocks at these levels; the decoder uses the
        output of every second one.
    """

    encoder: nn.ModuleList
    """Blocks and changes of resolution, in order."""
    skips: list[bool]
    """For each entry of `encoder`, True if its output feeds a skip connection."""
    decoder: nn.ModuleList
    """Each inner list holds the modules after one skip connection."""

    def __init__(self, network: Network, image_size: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        check_size(image_size, image_size, network.reduction)
        self.network = network
        self.recompute = False
        """Recompute activations in the backward pass. Takes effect in training mode; does not change results."""
        levels = levels_of(network, image_size)
        self.attention_at = [level.side for level in levels if level.attends]
        pixels = network.patch_size**2
        self.embed = self.embedding()
        self.first = nn.Conv2d(in_channels * pixels, network.channels, 3, padding=1)
        skip_channels = self._build_encoder(levels)
        self.middle = self._build_middle(levels[-1])
        self._build_decoder(levels, skip_channels)
        self.last = nn.Sequential(
            group_norm(levels[0].channels, network.groups),
            nn.SiLU(),
            zeroed(nn.Conv2d(levels[0].channels, out_channels * pixels, 3, padding=1)),
        )

    def embedding(self) -> nn.Module:
        """Build the embedding of the noise level: log_snr [B] → [B, E]."""
        raise NotImplementedError

    def residual(self, inputs: int, outputs: int, dilation: int = 1) -> nn.Module:
        """Build a residual block: [B, inputs, H, W], [B, E] → [B, outputs, H, W]."""
        raise NotImplementedError

    def attention(self, channels: int) -> Attention:
        """Build an attention layer: [B, channels, H, W] → [B, channels, H, W]."""
        raise NotImplementedError

    def down(self, channels: int) -> nn.Module:
        """Build a downsampling layer: [B, channels, H, W], [B, E] → [B, channels, H/2, W/2]."""
        raise NotImplementedError

    def up(self, channels: int) -> nn.Module:
        """Build an upsampling layer: [B, channels, H, W], [B, E] → [B, channels, 2H, 2W]."""
        raise NotImplementedError

    def _block(self, inputs: int, level: Level, dilation: int) -> Block:
        if level.attends and self.network.context == "local-attention":
            check_even(level.side, level.side)
        attention = self.attention(level.channels) if level.attends else None
        return Block(self.residual(inputs, level.channels, dilation), attention)

    def _build_encoder(self, levels: list[Level]) -> list[int]:
        """Build the encoder and return the channels of its skip connections, in order."""
        self.encoder, self.skips = nn.ModuleList(), []
        channels, skip_channels = self.network.channels, [self.network.channels]
        for level in levels:
            for dilation in level.dilations[:-1]:
                for repeat in range(level.repeats):
                    self.encoder.append(self._block(channels, level, dilation))
                    self.skips.append(repeat == level.repeats - 1)
                    channels = level.channels
                skip_channels.append(channels)
            if level is not levels[-1]:
                self.encoder.append(self.down(channels))
                self.skips.append(True)
                skip_channels.append(channels)
        return skip_channels

    def _build_middle(self, deepest: Level) -> nn.ModuleList:
        if self.network.context == "local-attention":
            check_even(deepest.side, deepest.side)
        attention = self.attention(deepest.channels) if self.network.attends else None
        first = Block(self.residual(deepest.channels, deepest.channels), attention)
        return nn.ModuleList([first, Block(self.residual(deepest.channels, deepest.channels))])

    def _build_decoder(self, levels: list[Level], skip_channels: list[int]) -> None:
        self.decoder = nn.ModuleList()
        channels = levels[-1].channels
        for level in reversed(levels):
            for dilation in level.dilations:
                self.decoder.append(nn.ModuleList([self._block(channels + skip_channels.pop(), level, dilation)]))
                channels = level.channels
            if level is not levels[0]:
                self.decoder[-1].append(self.up(channels))  # type: ignore[operator]

    def forward(self, x: Tensor, log_snr: Tensor) -> Tensor:
        check_size(x.shape[2], x.shape[3], self.network.reduction)
        embedding = self.embed(log_snr)  # [B, E]
        h = self.first(F.pixel_unshuffle(x, self.network.patch_size))  # [B, channels, H/patch, W/patch]
        waiting = [h]
        for part, skip in zip(self.encoder, self.skips, strict=True):
            h = self._run(part, h, embedding)
            if skip:
                waiting.append(h)
        for part in self.middle:
            h = self._run(part, h, embedding)
        for parts in self.decoder:
            h = torch.cat([h, waiting.pop()], dim=1)
            for part in parts:  # type: ignore[attr-defined]
                h = self._run(part, h, embedding)
        return F.pixel_shuffle(self.last(h), self.network.patch_size)

    def _run(self, part: nn.Module, h: Tensor, embedding: Tensor) -> Tensor:
        if self.recompute and self.training and torch.is_grad_enabled():
            # The random state is preserved, so that dropout drops the same entries again.
            return checkpoint(part, h, embedding, use_reentrant=False, preserve_rng_state=True)  # type: ignore[no-any-return]
        return part(h, embedding)  # type: ignore[no-any-return]
