"""The paper's network: ADM's U-Net (Dhariwal & Nichol 2021, appendix A) without class conditioning (paper, section 3).

With the paper's values (256 channels, multipliers 1, 1, 2, 2, 4, 4, two blocks, attention at 32, 16 and 8) and the
source image concatenated to its input it has 552,814,083 parameters.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palette.config.models import Network
from palette.model.blocks import Attention, Block, Dropout, group_norm, zeroed
from palette.model.noise import noise_embedding
from palette.model.unet import UNet

Resample = Literal["up", "down"] | None


def resample(x: Tensor, direction: Resample) -> Tensor:
    """Halve the sides of [B, C, H, W] by averaging, double them by repeating pixels, or return it unchanged."""
    if direction == "down":
        return F.avg_pool2d(x, 2)
    if direction == "up":
        return F.interpolate(x, scale_factor=2.0, mode="nearest")
    return x


def doubled(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Apply the 3×3 `conv` to x upsampled by 2 (nearest), at 4/9 of the cost: [B, I, H, W] → [B, O, 2H, 2W].

    Several of the nine weights of an output pixel meet the same pixel of x. Summed first, they form a transposed
    convolution with a 4×4 kernel and stride 2; along one side, its weights are `taps` times the three original ones.
    """
    taps = x.new_tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=conv.weight.dtype)
    kernel = (conv.weight.flatten(2) @ torch.kron(taps, taps).T).view(*conv.weight.shape[:2], 4, 4)  # [O, I, 4, 4]
    return F.conv_transpose2d(x, kernel.transpose(0, 1), conv.bias, stride=2, padding=1)


class ResidualBlock(nn.Module):
    """Residual block: [B, inputs, H, W], [B, E] → [B, outputs, H', W'] with H' = H, H/2 (`down`) or 2H (`up`).
    E is 4·`network.channels`."""

    def __init__(
        self, inputs: int, outputs: int, network: Network, direction: Resample = None, dilation: int = 1
    ) -> None:
        super().__init__()
        self.direction: Resample = direction
        self.norm1 = group_norm(inputs, network.groups)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
        self.modulation = nn.Linear(4 * network.channels, 2 * outputs)
        self.norm2 = group_norm(outputs, network.groups)
        self.dropout = Dropout(network.dropout)
        self.conv2 = zeroed(nn.Conv2d(outputs, outputs, 3, padding=dilation, dilation=dilation))
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self._first(F.silu(self.norm1(x)))  # [B, outputs, H', W']
        scale, shift = self.modulation(F.silu(embedding))[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        h = self.conv2(self.dropout(F.silu(h)))
        return h + self.skip(resample(x, self.direction))  # type: ignore[no-any-return]

    def _first(self, h: Tensor) -> Tensor:
        """Change the resolution and apply the first convolution."""
        # Faster on a CPU if the map has at least as many pixels as channels; not measured on GPUs.
        if self.direction == "up" and not h.is_cuda and h.shape[2] * h.shape[3] >= h.shape[1]:
            return doubled(h, self.conv1)
        return self.conv1(resample(h, self.direction))  # type: ignore[no-any-return]


class Backbone(UNet):
    """`UNet` with residual blocks that also change the resolution and are scaled and shifted by the noise level."""

    def embedding(self) -> nn.Module:
        width = self.network.channels
        return noise_embedding(self.network.noise_embedding, width, 4 * width)

    def residual(self, inputs: int, outputs: int, dilation: int = 1) -> nn.Module:
        return ResidualBlock(inputs, outputs, self.network, dilation=dilation)

    def attention(self, channels: int) -> Attention:
        local = self.network.context == "local-attention"
        return Attention(channels, self.network.head_channels, self.network.groups, local)

    def down(self, channels: int) -> nn.Module:
        return Block(ResidualBlock(channels, channels, self.network, "down"))

    def up(self, channels: int) -> nn.Module:
        return Block(ResidualBlock(channels, channels, self.network, "up"))
