"""Features that an extractor measures on a shard of samples, or of the originals → `shard-000.npz`."""

from dataclasses import replace

from palette.stages.base import Planned, Sharded, Usual, Work
from palette.stages.stage import Stage


class FeaturesSpec(Sharded):
    """Features: extractor, prepare, sample → `shard-000.npz`. Without the parent `sample`, those of the originals."""

    kind = "features"
    verb = "score"
    reads = ("extractor", "prepare", "sample")
    shard_files = ("shard-{shard}.npz", "shard-{shard}.json")
    usual = Usual(memory_gb=16, hours=4)
    options = {
        "": "score",
        "count": "datasets.{dataset}.prepare.test_images",
        "sample_shard_size": "sample.shard_size",
    }
    sample_shard_size: int
    """Test images per shard of samples; a shard of features covers one or several whole ones."""
    pixels: bool
    """Whether to measure also what needs no network; one of a row's extractors does."""

    def work(self, planned: Planned, shard: str | None = None) -> Work:
        prepare, extractor = planned.parent(self, "prepare"), planned.parent(self, "extractor")
        megapixels = prepare.work(planned).megapixels if prepare else 0
        one = extractor.evaluation(planned, megapixels) if extractor else Work()
        images = len(self.images(shard))
        stored = 4 * 5200  # pool_3, spatial features and class probabilities of Inception
        return replace(one, flops=images * one.flops, images=images, megapixels=megapixels, bytes=images * stored)


def run(stage: Stage[FeaturesSpec], shard: int) -> None:
    """Measure the test images of a shard, from number `shard * shard_size` on."""
    from palette.scoring import features

    features.run(stage, shard)
