"""Checks that weights are finite.

A network with NaN weights outputs NaN, and images come out black without any error.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from palette.errors import DataError, listed


def not_finite(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Return the names of the tensors that contain NaN or infinite values."""
    return [name for name, tensor in tensors if not torch.isfinite(tensor).all()]


def require_finite(tensors: Iterable[tuple[str, Tensor]], file: Path | str) -> None:
    """Raise DataError naming the tensors of `file` that contain NaN or infinite values."""
    if names := not_finite(tensors):
        raise DataError(
            f"{file}: NaN or infinite values in {listed(names, 5)}. The training that made these weights diverged, or "
            "the file is damaged. Take an earlier checkpoint of that training, or get the file again."
        )
