"""Backbones by their name in the config."""

from palette.config.models import Network
from palette.model.adm import ADM
from palette.model.sr3 import SR3
from palette.model.unet import UNet

BACKBONES: dict[str, type[UNet]] = {"adm": ADM, "sr3": SR3}


def build(network: Network, image_size: int, in_channels: int = 6, out_channels: int = 3) -> UNet:
    """Build the network that the options describe, with random weights, for images of `image_size` pixels (see `UNet`).

    in_channels: condition and noisy image, 3 each. Raises ConfigError where sizes do not divide evenly.
    """
    return BACKBONES[network.backbone](network, image_size, in_channels, out_channels)
