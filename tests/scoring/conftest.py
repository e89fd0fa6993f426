"""A dataset of two classes that differ in color, small enough to train a classifier in a second."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from palette.config.scores import PhotoClassifier
from palette.data.store.store import StoredImage, write_store
from palette.scoring.frechet import Rows, distance, gaussian
from palette.scoring.statistics import inception_scores, kernel_sums
from palette.stages.base import Spec
from palette.stages.extractor import ExtractorSpec
from palette.stages.features import FeaturesSpec
from palette.stages.score import ScoreSpec
from palette.stages.stage import Stage

SIZE, TESTS = 32, 50
CLASSES = ("red", "blue")
OPTIONS = PhotoClassifier(steps=40, batch_size=16, channels=8)
IMAGENET = [f"n{number:08}" for number in (1440764, *range(2000000, 2000998), 15075141)]
"""A thousand class names of ImageNet's form."""


def images(count: int, seed: int, noise: float = 0.0) -> Iterator[StoredImage]:
    """Noisy stripes in red or blue; `noise` is added on top, in gray levels."""
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        pixels = rng.integers(40, 90, (SIZE, SIZE, 3)).astype(float)
        pixels[:: 2 + index % 3, :, 0 if index % 2 == 0 else 2] += 120
        pixels += noise * np.random.default_rng(index).standard_normal(pixels.shape)
        yield StoredImage(f"{index:08}.png", pixels.clip(0, 255).astype(np.uint8), index % 2)


def stage_of(spec: Spec, results: Path) -> Stage[Spec]:
    """The stage of a spec, as if planned."""
    spec.write(results)
    return Stage(spec, results)


def extractor_spec(**changes: object) -> ExtractorSpec:
    options = {"name": "tiny-photos", "parents": {"prepare": "prepare/tiny"}, "extractor": "photos", "photos": OPTIONS}
    return ExtractorSpec.model_validate({**options, "sha256": None, **changes})


def features_spec(extractor: str, sample: str | None, shard_size: int = TESTS, sampled: int = TESTS) -> FeaturesSpec:
    """sampled: images in a shard of the samples."""
    parents = {"extractor": extractor, "prepare": "prepare/tiny"} | ({"sample": sample} if sample else {})
    name, shards = f"{sample}-{shard_size}", {"shard_size": shard_size, "sample_shard_size": min(sampled, shard_size)}
    return FeaturesSpec.model_validate({"name": name, "parents": parents, "count": TESTS, "pixels": True, **shards})


def score_spec(extractor: str, own: str, originals: str, **changes: object) -> ScoreSpec:
    """Of the one extractor in folder `extractor`, `photos` unless `kind` says so."""
    kind = changes.pop("kind", "photos")
    parents = {f"extractor-{kind}": extractor, f"features-{kind}": own, f"originals-{kind}": originals}
    options = {"name": "tiny", "parents": parents, "extractors": (kind,), "count": TESTS, "shard_size": TESTS}
    options |= {"reference_count": None, "is_splits": 2, "pd": "euclidean", "bootstrap": 50}
    return ScoreSpec.model_validate({**options, **changes})


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a prepared dataset, and samples of it in shards of 50 and of 20 images."""
    folder = tmp_path_factory.mktemp("results")
    write_store(folder / "prepare/tiny/train.zip", images(60, seed=0), CLASSES)
    write_store(folder / "prepare/tiny/test.zip", images(TESTS, seed=1), CLASSES)
    samples = list(images(TESTS, seed=1, noise=20))
    for size in (TESTS, 20):
        for shard, first in enumerate(range(0, TESTS, size)):
            write_store(folder / f"sample/noisy-{size}/shard-{shard:03}.zip", samples[first : first + size], CLASSES)
    return folder


def frechet_distance(a: Rows, b: Rows) -> float:
    return distance(gaussian(a), gaussian(b)).value


def kernel_distance(a: Rows, b: Rows) -> float:
    return kernel_sums(a, b).distance


def inception_score(probabilities: Rows, splits: int) -> float:
    return inception_scores(probabilities, splits)[0]
