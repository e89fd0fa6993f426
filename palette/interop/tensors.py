"""Conversion of other networks' tensors to those of ours that compute the same."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from palette.config.models import Network
from palette.errors import DataError, listed
from palette.interop.layouts import Layout, their_name
from palette.model.blocks import head_count
from palette.model.finite import require_finite
from palette.model.networks import build

IMAGE_CHANNELS, INPUT_CHANNELS = 3, 6


def targets(network: Network, image_size: int) -> tuple[dict[str, tuple[int, ...]], list[int]]:
    """Return name → shape of our network's parameters, and the side lengths of its feature maps with attention."""
    with torch.device("meta"):
        ours = build(network, image_size, INPUT_CHANNELS, IMAGE_CHANNELS)
    return {name: tuple(parameter.shape) for name, parameter in ours.named_parameters()}, ours.attention_at


def names(layout: Layout, ours: Iterable[str], theirs: Iterable[str], file: str) -> dict[str, str]:
    """Return our name → theirs, one to one. Raises DataError that lists unknown and missing tensors."""
    mapping = {name: their_name(layout, name) for name in ours}
    given, expected = list(theirs), set(mapping.values())
    unknown = [key for key in given if key not in expected]
    missing = sorted(expected - set(given))
    if unknown or missing:
        faults = [f"unknown: {listed(unknown)}"] * bool(unknown) + [f"missing: {listed(missing)}"] * bool(missing)
        raise DataError(
            f"{file}: does not fit a {layout.family} network with {layout.channels} channels, multipliers "
            f"{list(layout.multipliers)} and {layout.blocks} blocks ({'; '.join(faults)}). Nothing was imported."
        )
    return mapping


def by_queries(rows: Tensor, heads: int) -> Tensor:
    """Reorder [heads·3·C, …], ordered by head, then q, k, v, to [3·heads·C, …], ordered by q, k, v, then head."""
    return rows.reshape(heads, 3, -1, *rows.shape[1:]).transpose(0, 1).reshape(rows.shape)


def converted(
    mapping: Mapping[str, str],
    theirs: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    heads_first: int | None,
    file: str,
) -> dict[str, Tensor]:
    """Return our name → float32 tensor, for weights or for Adam's moments of them.

    mapping: our name → theirs. shapes: those of our tensors. heads_first: channels per head if the rows of attention's
    first projection are ordered by head in the file; None if they are ordered as here. Raises DataError for a shape
    that does not fit, and for values that are not finite.
    """
    require_finite(((key, theirs[key]) for key in mapping.values()), file)
    result = {}
    for name, key in mapping.items():
        tensor = theirs[key].detach().float()
        if ".attention." in name and name.endswith(".weight") and tensor.ndim == 3:  # Conv1d there, Conv2d here
            tensor = tensor.unsqueeze(-1)
        if tuple(tensor.shape) != shapes[name]:
            raise DataError(
                f"{file}: {key} is {list(theirs[key].shape)}, but the other tensors imply a network where it is "
                f"{list(shapes[name])}. Nothing was imported."
            )
        if ".attention.qkv." in name and heads_first is not None:
            tensor = by_queries(tensor, head_count(len(tensor) // 3, heads_first))
        result[name] = tensor.contiguous()
    return result
