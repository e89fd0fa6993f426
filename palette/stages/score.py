"""Train or check the feature network, extract features, compute scores.

This is the last step: from the measured shards of a row's images and of the originals to `scores.json`.

Example: python -m palette score -c results/score/photos-jpeg-palette-sde20-s0-1a2b3c4d5e/spec.yaml
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from palette.errors import DataError
from palette.scoring.arrays import Arrays, gather
from palette.scoring.metrics import Measured, Settings, rankings, score, worst
from palette.scoring.reference import Statistics, load
from palette.stages.base import Spec, Usual, shard_names
from palette.stages.stage import Stage
from palette.system.files import read_json, write_json


class ScoreSpec(Spec):
    """Scores: for each extractor E, `extractor-E`, `features-E` and, if needed, `originals-E`, `reference-E` and
    `statistics-E` → `scores.json`.
    """

    kind = "score"
    verb = "score"
    reads = ("extractor", "features", "statistics")
    files = ("scores.json",)
    usual = Usual(memory_gb=32, hours=2)
    options = {
        "": "score",
        "count": "datasets.{dataset}.prepare.test_images",
        "reference_count": "datasets.{dataset}.reference",
    }
    extractors: tuple[str, ...]
    count: int
    reference_count: int | None
    """Number of images of the reference; None: the originals."""
    shard_size: int
    is_splits: int
    pd: Literal["euclidean", "squared"]
    bootstrap: int


def run(stage: Stage[ScoreSpec]) -> None:
    """Compute the scores with each extractor, and write them."""
    spec = stage.spec
    settings = Settings(spec.is_splits, spec.bootstrap, spec.pd)
    scores: dict[str, Any] = {}
    lists: dict[str, dict[str, Any]] = {}
    ranked: dict[str, dict[str, Any]] = {}
    for extractor in spec.extractors:
        measured = _measured(stage, extractor)
        scores |= score(measured, extractor, settings)
        ranked = rankings(measured, extractor, settings) | ranked  # the first extractor's take precedence
        lists["images"] = _list(measured.own)
        if measured.reference:
            lists["reference"] = _list(measured.reference)
    content = {"images": spec.count, "protocol": _protocol(stage, lists), "scores": scores}
    write_json(stage.path("scores.json"), {**content, "worst": worst(ranked)})
    stage.write_card(["scores.json"])


def _protocol(stage: Stage[ScoreSpec], lists: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what two scores must have in common to be compared. It does not depend on the machine or the folder."""
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
    """Return a list of images as their number and a hash of their pixels in order."""
    items = np.ascontiguousarray(arrays["item"], "<u8")
    return {"count": len(items), "sha256": hashlib.sha256(items.tobytes()).hexdigest()}


def _extractor(stage: Stage[ScoreSpec], extractor: str) -> dict[str, str]:
    facts = read_json(stage.parent(f"extractor-{extractor}", "extractor.json"))
    return {name: facts[name] for name in ("sha256", "resize", "package") if name in facts}


def _measured(stage: Stage[ScoreSpec], extractor: str) -> Measured:
    spec = stage.spec
    own = _gathered(stage, f"features-{extractor}", spec.count)
    roles = (("originals", spec.count), ("reference", spec.reference_count))
    originals, reference = (
        _gathered(stage, f"{role}-{extractor}", count or 0) if f"{role}-{extractor}" in spec.parents else None
        for role, count in roles
    )
    if originals and not np.array_equal(own["item"], originals["item"]):
        folder = stage.results / spec.parents[f"features-{extractor}"]
        text = "measured on other test images than the originals. Delete it and run `snakemake` again."
        raise DataError(f"{folder}: {text}")
    return Measured(own, originals or {}, reference, _statistics(stage, extractor, spec.reference_count or spec.count))


def _gathered(stage: Stage[ScoreSpec], role: str, count: int) -> Arrays:
    size = stage.spec.shard_size
    shards = [stage.parent(role, f"shard-{shard}.npz") for shard in shard_names(count, size)]
    return gather(shards, count, size, stage.path(""))


def _statistics(stage: Stage[ScoreSpec], extractor: str, count: int) -> Statistics | None:
    """Return the statistics of the set that is compared with, which must have `count` images; None if there is none."""
    role = f"statistics-{extractor}"
    if role not in stage.spec.parents:
        return None
    path = stage.parent(role, "statistics.npz")
    found = load(path)
    if found.count != count:
        text = f"of {found.count} images, {count} expected. Delete its folder and run `snakemake` again."
        raise DataError(f"{path}: {text}")
    return found
