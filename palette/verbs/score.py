"""Gather the measured shards of a row and of the originals, and score them → `scores.json`."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from palette.errors import DataError
from palette.files import write_json
from palette.scoring.metrics import Measured, Settings, score
from palette.spec import ScoreSpec
from palette.stage import Stage

Arrays = dict[str, npt.NDArray[Any]]


def run(stage: Stage[ScoreSpec]) -> None:
    """Score with each extractor; scores that need no network come out the same with each."""
    spec = stage.spec
    settings = Settings(spec.is_splits, spec.bootstrap)
    scores: dict[str, Any] = {}
    for extractor in spec.extractors:
        scores |= score(_measured(stage, extractor), extractor, settings)
    write_json(stage.path("scores.json"), {"images": spec.count, "protocol": _protocol(spec), "scores": scores})
    stage.write_card(["scores.json"])


def _protocol(spec: ScoreSpec) -> dict[str, Any]:
    """What two scores must have in common to be compared. The reference's folder names extractor, images and code by its hash."""
    return {
        "reference": {extractor: spec.parents[f"reference-{extractor}"] for extractor in spec.extractors},
        "images": spec.count,
        "is_splits": spec.is_splits,
        "bootstrap": spec.bootstrap,
    }


def _measured(stage: Stage[ScoreSpec], extractor: str) -> Measured:
    own, reference = (_gather(stage, f"{role}-{extractor}") for role in ("features", "reference"))
    return Measured(
        features=own["features"].astype(np.float64),
        reference=reference["features"].astype(np.float64),
        probabilities=own["probabilities"].astype(np.float64),
        correct=own.get("correct"),
        psnr=own["psnr"],
        ssim=own["ssim"],
        chroma=own["chroma"],
        reference_chroma=reference["chroma"],
    )


def _gather(stage: Stage[ScoreSpec], role: str) -> Arrays:
    """All shards of a features stage, in order, as one set of arrays with N = `count` rows."""
    shards = range(-(-stage.spec.count // stage.spec.shard_size))
    parts = [_read(stage.parent(role, f"shard-{shard:03}.npz")) for shard in shards]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found = len(arrays["features"])
    if found != stage.spec.count:
        folder = stage.results / stage.spec.parents[role]
        raise DataError(
            f"{folder}: {found} images measured, {stage.spec.count} expected. Delete it and run `snakemake` again."
        )
    return arrays


def _read(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: damaged ({error}). Delete it and run `snakemake` again.") from None
