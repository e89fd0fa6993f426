"""Size of a network by formula, from its options alone: FLOPs and parameters, at once and without torch.

A test compares both with counts on the networks themselves.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from palette.config.models import Network


class Layer(NamedTuple):
    """Convolutions, linear layers or attention, together with the norms before them."""

    weights: int
    """Entries of matrices and kernels; each is multiplied once per position."""
    others: int
    """Further parameters: biases and norms."""
    positions: int = 1
    pairs: int = 0
    """Multiplications in which positions attend to each other."""


@cache
def flops(network: Network, image_size: int) -> int:
    """Return the FLOPs of one evaluation for one image of `image_size` pixels.

    A multiplication and an addition count as two.
    """
    return 2 * sum(layer.weights * layer.positions + layer.pairs for layer in _layers(network, image_size))


def attention_flops(network: Network, image_size: int) -> int:
    """Return the part of `flops` in which positions attend to each other: quadratic in the number of pixels."""
    return 2 * sum(layer.pairs for layer in _layers(network, image_size))


def training_flops(network: Network, image_size: int, recompute: bool) -> int:
    """Return the FLOPs of one image in one training step.

    The backward pass costs twice the forward pass, which runs again in it with `recompute`.
    """
    return flops(network, image_size) * (4 if recompute else 3)


@cache
def parameters(network: Network, image_size: int) -> int:
    """Return the number of parameters; `network.attention` names sides of feature maps of images of `image_size`."""
    return sum(layer.weights + layer.others for layer in _layers(network, image_size))


def _layers(network: Network, image_size: int) -> Iterator[Layer]:
    """Yield the layers of the U-Net, whose structure is documented in `palette.model.unet`."""
    sides, levels = network.sides(image_size), [network.channels * m for m in network.multipliers]
    width, pixels = network.channels, network.patch_size**2
    # The embedding of the noise level, the first convolution and the last.
    yield Layer(20 * width**2, 8 * width) if network.backbone == "adm" else Layer(8 * width**2, 5 * width)
    yield _conv(6 * pixels, width, sides[0])
    yield Layer(9 * levels[0] * 3 * pixels, 2 * levels[0] + 3 * pixels, sides[0] ** 2)
    channels, skips = width, [width]
    for number, (side, outer) in enumerate(zip(sides, levels, strict=True)):
        if number:
            yield from _change(network, channels, side)
            skips.append(channels)
        blocks = _decoded(network, side) - 1
        for _ in range(blocks * (2 if side in network.attention and network.context == "more-blocks" else 1)):
            yield from _block(network, channels, outer, side)
            channels = outer
        skips += blocks * [channels]
    yield from _residual(network, channels, channels, sides[-1])
    yield from _residual(network, channels, channels, sides[-1])
    if network.attends:
        yield _attention(network, channels, sides[-1])
    for number, (side, outer) in enumerate(zip(reversed(sides), reversed(levels), strict=True)):
        if number:
            yield from _change(network, channels, side)
        for _ in range(_decoded(network, side)):
            yield from _block(network, channels + skips.pop(), outer, side)
            channels = outer


def _decoded(network: Network, side: int) -> int:
    """Return the number of the decoder's residual blocks at a level; the encoder has one less, or twice that."""
    return network.blocks + 1 + (side in network.attention and network.context == "dilated")


def _conv(inner: int, outer: int, side: int) -> Layer:
    """Return a 3×3 convolution."""
    return Layer(9 * inner * outer, outer, side**2)


def _block(network: Network, inner: int, outer: int, side: int) -> Iterator[Layer]:
    yield from _residual(network, inner, outer, side)
    if side in network.attention and network.attends:
        yield _attention(network, outer, side)


def _residual(network: Network, inner: int, outer: int, side: int) -> Iterator[Layer]:
    """Yield two convolutions with their norms, the skip connection where it is one, and the modulation."""
    yield Layer(9 * (inner + outer) * outer, 2 * inner + 4 * outer, side**2)
    if inner != outer:
        yield Layer(inner * outer, outer, side**2)
    modulated = 2 * outer if network.backbone == "adm" else outer
    yield Layer(network.channels * modulated * (4 if network.backbone == "adm" else 1), modulated)


def _attention(network: Network, channels: int, side: int) -> Layer:
    """Return an attention layer: queries, keys, values and output, and the pairs of positions.

    Each position attends to all positions, or to those of its quarter.
    """
    attended = side**2 // (4 if network.context == "local-attention" else 1)
    biases = 4 * channels if network.backbone == "adm" else channels
    return Layer(4 * channels**2, 2 * channels + biases, side**2, 2 * channels * attended * side**2)


def _change(network: Network, channels: int, side: int) -> Iterator[Layer]:
    """Yield the layers that change the resolution to `side`."""
    if network.backbone == "adm":
        yield from _residual(network, channels, channels, side)
    else:
        yield _conv(channels, channels, side)
