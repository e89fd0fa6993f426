"""Array files: the measurements of a shard of images, and the combined shards of a set."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from palette.errors import DataError
from palette.system.files import replacing

Arrays = dict[str, npt.NDArray[Any]]


def save_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write an `.npz` atomically; equal arrays give equal bytes (NumPy dates the entries 1980-01-01)."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def gather(shards: Sequence[Path], count: int, shard_size: int, scratch: Path) -> Arrays:
    """Combine all shards, in order. Arrays [N,D] are kept in unnamed files in `scratch` instead of memory. shards:
    the files `shard-000.npz` and on, with `shard_size` images each, `count` in all. Raises DataError if they differ."""
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    large: Arrays = {}
    for shard, path in enumerate(shards):
        items = slice(shard * shard_size, min((shard + 1) * shard_size, count))
        for name, values in _read(path, items.stop - items.start).items():
            if values.ndim == 1 or name.startswith("diversity"):
                parts.setdefault(name, []).append(values)
                continue
            if name not in large:
                large[name] = _on_disk(scratch, (count, values.shape[1]), values.dtype)
            large[name][items] = values
    return large | {name: np.concatenate(values) for name, values in parts.items()}


def _on_disk(scratch: Path, shape: tuple[int, int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Create an array in an unnamed file, which disappears with the process."""
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=scratch) as file:
        return np.memmap(file, dtype, "w+", shape=shape)


def _read(path: Path, count: int) -> Arrays:
    """Read the arrays of a shard. Raises DataError unless they are of `count` images."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        found = len(arrays["item"])
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):  # NumPy's own error may suggest unpickling
        raise DataError(f"{path}: damaged, or not what was measured. Delete it and run `snakemake` again.") from None
    if found != count:
        raise DataError(f"{path}: {found} images measured, {count} expected. Delete it and run `snakemake` again.")
    return arrays
