"""The paper's network: ADM's U-Net without class conditioning, the source image concatenated to its input (section 3 of the paper).

With the paper's values (256 channels, multipliers 1, 1, 2, 2, 4, 4, two blocks, attention at 32, 16 and 8) it has 552,814,083 parameters.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palette.config import Network
from palette.errors import ConfigError
from palette.model.blocks import Attention, Block, ResidualBlock, group_norm, sinusoids, zeroed


def check_size(height: int, width: int, reduction: int) -> None:
    """Raise ConfigError unless both sides, in pixels, are multiples of the network's reduction."""
    if height % reduction or width % reduction:
        raise ConfigError(
            f"network: images of {width}×{height} pixels do not fit; `patch_size` and the number of `multipliers` ask for "
            f"sides that are multiples of {reduction}. Change `image_size`, or use fewer multipliers or a smaller patch."
        )


def resolutions(network: Network, image_size: int) -> list[int]:
    """Side of the feature map at each level, finest first."""
    return [image_size // network.patch_size // 2**level for level in range(len(network.multipliers))]


class UNet(nn.Module):
    """x [B, in_channels, H, W] float, noise [B] float → [B, out_channels, H, W].

    noise: the noise level, scaled for `sinusoids`. image_size decides which levels get attention (`network.attention`
    names sides of feature maps of images that large); images of other sizes, square or not, pass if their sides are
    multiples of `network.reduction`. The middle always has attention. Starts as the zero function.
    """

    def __init__(self, network: Network, in_channels: int, out_channels: int, image_size: int) -> None:
        super().__init__()
        check_size(image_size, image_size, network.reduction)
        self.network = network
        self.attention_at = [side for side in resolutions(network, image_size) if side in network.attention]
        self.sides = resolutions(network, image_size)
        width, pixels = network.channels, network.patch_size**2
        self.embed = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width))
        self.first = nn.Conv2d(in_channels * pixels, width, 3, padding=1)
        skips = self._build_encoder([width])
        deepest = width * network.multipliers[-1]
        attention = Attention(deepest, network.head_channels)
        self.middle = nn.ModuleList(
            [Block(self._residual(deepest, deepest), attention), Block(self._residual(deepest, deepest))]
        )
        channels = self._build_decoder(deepest, skips)
        self.last = nn.Sequential(
            group_norm(channels), nn.SiLU(), zeroed(nn.Conv2d(channels, out_channels * pixels, 3, padding=1))
        )

    def _residual(self, inner: int, outer: int) -> ResidualBlock:
        return ResidualBlock(inner, outer, 4 * self.network.channels, self.network.dropout)

    def _resampling(self, channels: int, up: bool) -> Block:
        embedding, dropout = 4 * self.network.channels, self.network.dropout
        return Block(ResidualBlock(channels, channels, embedding, dropout, "up" if up else "down"))

    def _block(self, inner: int, outer: int, level: int) -> Block:
        attends = self.sides[level] in self.network.attention
        return Block(self._residual(inner, outer), Attention(outer, self.network.head_channels) if attends else None)

    def _build_encoder(self, skips: list[int]) -> list[int]:
        """Append to `skips` the channels of each block's output, which the decoder takes up again."""
        self.encoder = nn.ModuleList()
        for level, multiplier in enumerate(self.network.multipliers):
            for _ in range(self.network.blocks):
                self.encoder.append(self._block(skips[-1], self.network.channels * multiplier, level))
                skips.append(self.network.channels * multiplier)
            if level < len(self.network.multipliers) - 1:
                self.encoder.append(self._resampling(skips[-1], up=False))
                skips.append(skips[-1])
        return skips

    def _build_decoder(self, channels: int, skips: list[int]) -> int:
        """Each inner list holds the blocks after one skip connection. Returns the channels of the last output."""
        self.decoder = nn.ModuleList()
        for level in reversed(range(len(self.network.multipliers))):
            outer = self.network.channels * self.network.multipliers[level]
            for index in range(self.network.blocks + 1):
                blocks = nn.ModuleList([self._block(channels + skips.pop(), outer, level)])
                if level > 0 and index == self.network.blocks:
                    blocks.append(self._resampling(outer, up=True))
                self.decoder.append(blocks)
                channels = outer
        return channels

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        check_size(x.shape[2], x.shape[3], self.network.reduction)
        embedding = self.embed(sinusoids(noise, self.network.channels))  # [B, 4·channels]
        h = self.first(F.pixel_unshuffle(x, self.network.patch_size))  # [B, channels, H/patch, W/patch]
        skips = [h]
        for block in self.encoder:
            h = block(h, embedding)
            skips.append(h)
        for block in self.middle:
            h = block(h, embedding)
        for blocks in self.decoder:
            h = torch.cat([h, skips.pop()], dim=1)
            for block in blocks:  # type: ignore[attr-defined]
                h = block(h, embedding)
        return F.pixel_shuffle(self.last(h), self.network.patch_size)
