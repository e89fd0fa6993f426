"""Measure a shard of samples, or of the originals, with an extractor → `shard-000.npz`."""

from collections.abc import Mapping
from typing import ClassVar

from palette.stages.base import Sharded, Usual
from palette.stages.stage import Stage


class FeaturesSpec(Sharded):
    """extractor, prepare, sample → `shard-000.npz`. Without the parent `sample`, the originals."""

    kind = "features"
    verb = "score"
    reads = ("extractor", "prepare", "sample")
    shard_files = ("shard-{shard}.npz", "shard-{shard}.json")
    usual = Usual(memory_gb=16, hours=4)
    options: ClassVar[Mapping[str, str]] = {
        "": "score",
        "count": "datasets.{dataset}.prepare.test_images",
        "sample_shard_size": "sample.shard_size",
    }
    sample_shard_size: int
    """Test images in a shard of the samples, of which a shard of features takes one or several whole ones."""
    pixels: bool
    """Whether to measure what needs no network too: one of a row's extractors does."""


def run(stage: Stage[FeaturesSpec], shard: int) -> None:
    """Measure test items `shard * shard_size` up to the next shard."""
    from palette.scoring import features_job

    features_job.run(stage, shard)
