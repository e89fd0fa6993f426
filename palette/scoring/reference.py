"""Statistics of the reference set, besides its features, that the scores need: computed once for all rows.

Each part costs as much as all other scores of a row, and many rows share the same reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from palette.errors import DataError
from palette.scoring.arrays import save_arrays
from palette.scoring.frechet import Floats, Gaussian, gaussian
from palette.scoring.statistics import kernels_within, neighborhoods

NORMAL = ("features", "spatial")
"""Arrays that are summarized by a Gaussian."""


@dataclass(frozen=True)
class Statistics:
    """Statistics of N images.

    gaussians: the normal distributions of the arrays in NORMAL. kernels: summed between the images of each pair of the
    jackknife's groups [G,G], without those of an image with itself. neighborhoods: squared distance of each image to
    its k-th neighbor [N].
    """

    count: int
    gaussians: Mapping[str, Gaussian]
    kernels: Floats
    neighborhoods: Floats


def summarize(arrays: Mapping[str, npt.NDArray[Any]]) -> Statistics:
    """Return the statistics of a set of measured images (see `features.measure`); empty for missing arrays."""
    gaussians = {name: gaussian(arrays[name]) for name in NORMAL if name in arrays}
    count, empty = len(next(iter(arrays.values()))), np.empty(0)
    if "features" not in arrays:
        return Statistics(count, gaussians, empty, empty)
    features = arrays["features"]
    return Statistics(count, gaussians, kernels_within(features), neighborhoods(features))


def save(path: Path, found: Statistics) -> None:
    """Write `statistics.npz`; equal statistics give equal bytes."""
    parts = {"count": np.array(found.count), "kernels": found.kernels, "neighborhoods": found.neighborhoods}
    for name, normal in found.gaussians.items():
        parts |= {f"{name}-mean": normal.mean, f"{name}-root": normal.root}
    save_arrays(path, parts)


def load(path: Path) -> Statistics:
    """Load a file written by `save`. Raises DataError for any other file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            parts, count = dict(file), int(file["count"])
        names = [name for name in NORMAL if f"{name}-mean" in parts]
        gaussians = {name: Gaussian(count, parts[f"{name}-mean"], parts[f"{name}-root"]) for name in names}
        return Statistics(count, gaussians, parts["kernels"], parts["neighborhoods"])
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        raise DataError(f"{path}: damaged, or no statistics. Delete its folder and run `snakemake` again.") from None
