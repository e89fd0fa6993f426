"""Gather the measured shards of a row and of the originals, and score them → `scores.json`."""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from palette.errors import DataError
from palette.files import read_json, write_json
from palette.scoring.metrics import Measured, Settings, score
from palette.spec import ScoreSpec
from palette.stage import Stage

Arrays = dict[str, npt.NDArray[Any]]


def run(stage: Stage[ScoreSpec]) -> None:
    """Score with each extractor."""
    spec = stage.spec
    settings = Settings(spec.is_splits, spec.bootstrap, spec.pd)
    stage.path("").mkdir(parents=True, exist_ok=True)
    scores: dict[str, Any] = {}
    lists: dict[str, dict[str, Any]] = {}
    for extractor in spec.extractors:
        measured = _measured(stage, extractor)
        scores |= score(measured, extractor, settings)
        lists |= {
            "images": _list(measured.own),
            **({"reference": _list(measured.reference)} if measured.reference else {}),
        }
    content = {"images": spec.count, "protocol": _protocol(stage, lists), "scores": scores}
    write_json(stage.path("scores.json"), content)
    stage.write_card(["scores.json"])


def _protocol(stage: Stage[ScoreSpec], lists: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What two scores must have in common to be compared. Nothing in it depends on the machine or the folder."""
    spec = stage.spec
    return {
        "images": lists["images"],
        "reference": lists.get("reference", "the originals of the images"),
        "extractors": {extractor: _extractor(stage, extractor) for extractor in spec.extractors},
        "is_splits": spec.is_splits,
        "pd": spec.pd,
        "bootstrap": spec.bootstrap,
    }


def _list(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """A list of images: their number, and a hash of their pixels in order."""
    items = np.ascontiguousarray(arrays["item"], "<u8")
    return {"count": len(items), "sha256": hashlib.sha256(items.tobytes()).hexdigest()}


def _extractor(stage: Stage[ScoreSpec], extractor: str) -> dict[str, str]:
    facts = read_json(stage.parent(f"extractor-{extractor}", "extractor.json"))
    return {name: facts[name] for name in ("sha256", "resize", "package") if name in facts}


def _measured(stage: Stage[ScoreSpec], extractor: str) -> Measured:
    spec = stage.spec
    own = _gather(stage, f"features-{extractor}", spec.count)
    roles = (("originals", spec.count), ("reference", spec.reference_count))
    originals, reference = (
        _gather(stage, f"{role}-{extractor}", count or 0) if f"{role}-{extractor}" in spec.parents else None
        for role, count in roles
    )
    if originals and not np.array_equal(own["item"], originals["item"]):
        folder = stage.results / spec.parents[f"features-{extractor}"]
        raise DataError(
            f"{folder}: measured on other test images than the originals. Delete it and run `snakemake` again."
        )
    return Measured(own, originals or {}, reference)


def _gather(stage: Stage[ScoreSpec], role: str, count: int) -> Arrays:
    """All shards of a features stage, in order, as one set of arrays. What is [N,D] comes to lie on disk, not in memory."""
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    large: Arrays = {}
    for shard, first in enumerate(range(0, count, stage.spec.shard_size)):
        items = slice(first, min(first + stage.spec.shard_size, count))
        for name, values in _read(stage.parent(role, f"shard-{shard:03}.npz"), items.stop - first).items():
            if values.ndim == 1 or name.startswith("diversity"):
                parts.setdefault(name, []).append(values)
                continue
            if name not in large:
                large[name] = _on_disk(stage, (count, values.shape[1]), values.dtype)
            large[name][items] = values
    return large | {name: np.concatenate(values) for name, values in parts.items()}


def _on_disk(stage: Stage[ScoreSpec], shape: tuple[int, int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array in a file without a name, which is gone with the process."""
    with tempfile.TemporaryFile(dir=stage.path("")) as file:
        return np.memmap(file, dtype, "w+", shape=shape)


def _read(path: Path, count: int) -> Arrays:
    """The arrays of a shard, which must be of `count` images."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        found = len(arrays["item"])
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise DataError(f"{path}: damaged ({error}). Delete it and run `snakemake` again.") from None
    if found != count:
        raise DataError(f"{path}: {found} images measured, {count} expected. Delete it and run `snakemake` again.")
    return arrays
