"""FLOPs of a network by formula, from its options alone: fast and without torch.

A test compares them with counts on the networks themselves.
"""

from collections.abc import Iterator
from functools import cache

from palette.config.models import Network


@cache
def flops(network: Network, image_size: int) -> int:
    """Return the FLOPs of one evaluation for one image of `image_size` pixels.

    A multiplication and an addition count as two.
    """
    return 2 * sum(_products(network, image_size))


def attention_flops(network: Network, image_size: int) -> int:
    """Return the part of `flops` in which positions attend to each other: quadratic in the number of pixels."""
    if not network.attends:
        return 0
    levels = list(zip(network.sides(image_size), network.multipliers, strict=True))
    attending = [level for level in levels if level[0] in network.attention] * (2 * network.blocks + 1)
    return 2 * sum(_pairs(network, network.channels * m, side) for side, m in [*attending, levels[-1]])


def training_flops(network: Network, image_size: int, recompute: bool) -> int:
    """Return the FLOPs of one image in one training step.

    The backward pass costs twice the forward pass, which runs again in it with `recompute`.
    """
    return flops(network, image_size) * (4 if recompute else 3)


def _products(network: Network, image_size: int) -> Iterator[int]:
    """Yield the multiplications in each part of the U-Net, whose structure is documented in `palette.model.unet`."""
    sides, levels = network.sides(image_size), [network.channels * m for m in network.multipliers]
    yield 4 * network.channels**2 * (5 if network.backbone == "adm" else 2)  # embedding of the noise level
    yield _conv(6 * network.patch_size**2, network.channels, sides[0]) + _conv(
        levels[0], 3 * network.patch_size**2, sides[0]
    )
    inner, skips = network.channels, [network.channels]
    for number, (side, outer) in enumerate(zip(sides, levels, strict=True)):
        if number:
            yield _change(network, inner, side)
            skips.append(inner)
        taken = _decoded(network, side) - 1
        for _ in range(taken * (2 if side in network.attention and network.context == "more-blocks" else 1)):
            yield _block(network, inner, outer, side)
            inner = outer
        skips += taken * [inner]
    yield 2 * _residual(network, inner, inner, sides[-1]) + network.attends * _attention(network, inner, sides[-1])
    for number, (side, outer) in enumerate(zip(reversed(sides), reversed(levels), strict=True)):
        if number:
            yield _change(network, inner, side)
        for _ in range(_decoded(network, side)):
            yield _block(network, inner + skips.pop(), outer, side)
            inner = outer


def _decoded(network: Network, side: int) -> int:
    """Return the number of the decoder's residual blocks at a level; the encoder has one less, or twice that."""
    return network.blocks + 1 + (side in network.attention and network.context == "dilated")


def _conv(inner: int, outer: int, side: int) -> int:
    """Return the multiplications of a 3×3 convolution."""
    return 9 * inner * outer * side**2


def _block(network: Network, inner: int, outer: int, side: int) -> int:
    attends = side in network.attention and network.attends
    return _residual(network, inner, outer, side) + attends * _attention(network, outer, side)


def _residual(network: Network, inner: int, outer: int, side: int) -> int:
    skip = inner * outer * side**2 if inner != outer else 0
    modulation = network.channels * outer * (8 if network.backbone == "adm" else 1)
    return _conv(inner, outer, side) + _conv(outer, outer, side) + skip + modulation


def _attention(network: Network, channels: int, side: int) -> int:
    """Return the multiplications of an attention layer: queries, keys, values and output, and the pairs of `_pairs`.

    Each position attends to all positions, or to those of its quarter.
    """
    return 4 * channels**2 * side**2 + _pairs(network, channels, side)


def _pairs(network: Network, channels: int, side: int) -> int:
    seen = side**2 // (4 if network.context == "local-attention" else 1)
    return 2 * channels * seen * side**2


def _change(network: Network, channels: int, side: int) -> int:
    """Return the multiplications of a change of resolution to `side`."""
    return (
        _residual(network, channels, channels, side) if network.backbone == "adm" else _conv(channels, channels, side)
    )
