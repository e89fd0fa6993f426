"""SR3's U-Net (Saharia et al. 2021), as in the unofficial code of Palette, so that its weights can be loaded.

Differences from ADM's: strided and plain convolutions change the resolution, the noise level is only added, and
attention has one head.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from palette.config.models import Network
from palette.model.blocks import Attention, Dropout, group_norm
from palette.model.noise import noise_embedding
from palette.model.unet import UNet


class ResidualBlock(nn.Module):
    """Residual block: [B, inputs, H, W], [B, E] → [B, outputs, H, W]; E is `network.channels`."""

    def __init__(self, inputs: int, outputs: int, network: Network) -> None:
        super().__init__()
        self.modulation = nn.Linear(network.channels, outputs)
        self.norm1 = group_norm(inputs, network.groups)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = group_norm(outputs, network.groups)
        self.dropout = Dropout(network.dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x))) + self.modulation(embedding)[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return h + self.skip(x)  # type: ignore[no-any-return]


class Resample(nn.Module):
    """Change of resolution: [B, C, H, W] → [B, C, 2H, 2W], or H/2, W/2 with a stride of 2; the embedding is ignored."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        if self.conv.stride == (1, 1):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.conv(x)  # type: ignore[no-any-return]


class Backbone(UNet):
    """`UNet` with single-head global attention, at the levels in `attention` and in the middle."""

    def embedding(self) -> nn.Module:
        width = self.network.channels
        return noise_embedding(self.network.noise_embedding, width, width, sine_first=True)

    def residual(self, inputs: int, outputs: int, dilation: int = 1) -> nn.Module:
        return ResidualBlock(inputs, outputs, self.network)

    def attention(self, channels: int) -> Attention:
        return Attention(channels, channels, self.network.groups, bias=False)

    def down(self, channels: int) -> nn.Module:
        return Resample(channels, stride=2)

    def up(self, channels: int) -> nn.Module:
        return Resample(channels, stride=1)
