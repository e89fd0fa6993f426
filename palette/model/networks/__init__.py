"""Networks by their name in the config: each module of this folder has one, a class `Backbone`."""

from importlib import import_module

from palette.config.choices import files
from palette.config.models import Network
from palette.model.unet import UNet

BACKBONES: dict[str, type[UNet]] = {
    name: import_module(f"{__name__}.{name}").Backbone for name in files("model/networks")
}


def build(network: Network, image_size: int, in_channels: int = 6, out_channels: int = 3) -> UNet:
    """Build the network that the options describe, with random weights, for images of `image_size` pixels (see `UNet`).
    in_channels: condition and noisy image, 3 each. Raises ConfigError where sizes do not divide evenly."""
    return BACKBONES[network.backbone](network, image_size, in_channels, out_channels)
