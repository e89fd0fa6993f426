"""SR3's U-Net (Saharia et al. 2021), as in the unofficial code of Palette, so that its weights can be loaded.

Differences from ADM's: strided and plain convolutions change the resolution, the noise level is only added, and
attention has one head.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from palette.config.models import Network
from palette.model.blocks import Attention, Dropout, group_norm
from palette.model.noise import NoiseLevel
from palette.model.unet import UNet


class ResidualBlock(nn.Module):
    """Residual block: [B, inner, H, W], [B, E] → [B, outer, H, W]; E is `network.channels`."""

    def __init__(self, inner: int, outer: int, network: Network) -> None:
        super().__init__()
        self.modulation = nn.Linear(network.channels, outer)
        self.norm1 = group_norm(inner, network.groups)
        self.conv1 = nn.Conv2d(inner, outer, 3, padding=1)
        self.norm2 = group_norm(outer, network.groups)
        self.dropout = Dropout(network.dropout)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1)
        self.skip = nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x))) + self.modulation(embedding)[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return h + self.skip(x)  # type: ignore[no-any-return]


class Down(nn.Module):
    """Downsampling: [B, C, H, W] → [B, C, H/2, W/2]; the embedding is ignored."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]


class Up(nn.Module):
    """Upsampling: [B, C, H, W] → [B, C, 2H, 2W]; the embedding is ignored."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))  # type: ignore[no-any-return]


class SR3(UNet):
    """`UNet` with single-head global attention, at the levels in `attention` and in the middle."""

    def embedding(self) -> nn.Module:
        width = self.network.channels
        return nn.Sequential(
            NoiseLevel(self.network.noise_embedding, width, sine_first=True),
            nn.Linear(width, 4 * width),
            nn.SiLU(),
            nn.Linear(4 * width, width),
        )

    def residual(self, inner: int, outer: int, dilation: int = 1) -> nn.Module:
        return ResidualBlock(inner, outer, self.network)

    def attention(self, channels: int) -> Attention:
        return Attention(channels, channels, self.network.groups, bias=False)

    def down(self, channels: int) -> nn.Module:
        return Down(channels)

    def up(self, channels: int) -> nn.Module:
        return Up(channels)
