"""Arrays in files: what was measured on a shard of images, and the shards of a set gathered."""

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
    """All shards, in order. What is [N,D] comes to lie in files without a name in `scratch`, and not in memory.

    shards: the files `shard-000.npz` and on, of `shard_size` images each, `count` in all. Raises DataError where they are not.
    """
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
    """An array in a file without a name, which is gone with the process."""
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=scratch) as file:
        return np.memmap(file, dtype, "w+", shape=shape)


def _read(path: Path, count: int) -> Arrays:
    """The arrays of a shard, which must be of `count` images."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        found = len(arrays["item"])
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        BadZipFile,
    ):  # NumPy's advice for what is no archive is to unpickle it
        raise DataError(f"{path}: damaged, or not what was measured. Delete it and run `snakemake` again.") from None
    if found != count:
        raise DataError(f"{path}: {found} images measured, {count} expected. Delete it and run `snakemake` again.")
    return arrays
