"""Extractor that measures a dataset's images → `extractor.json`.

It is a classifier trained here (`photos`), pretrained weights that are checked, or a formula.
"""

from dataclasses import replace

from palette.config.scores import ExtractorKind, PhotoClassifier
from palette.stages.base import Planned, Runtime, Spec, Usual, Work
from palette.stages.stage import Stage


class ExtractorRuntime(Runtime):
    """Runtime options of an extractor: the source of its weights."""

    download: bool = False
    """Whether the job may download them to `weights`."""


class ExtractorSpec(Spec):
    """Extractor: prepare, for those that know classes → `extractor.json` and, for `photos`, `classifier.safetensors`."""

    kind = "extractor"
    verb = "score"
    reads = ("prepare",)
    files = ("extractor.json",)
    usual = Usual(memory_gb=16, hours=4)
    options = {
        "photos": "score.photos",
        "sha256": "the weights of this extractor",
        "extractor": "score.extractors",
    }
    runtime: ExtractorRuntime = ExtractorRuntime()
    extractor: ExtractorKind
    photos: PhotoClassifier | None
    sha256: str | None
    """SHA-256 of the pretrained weights."""

    def work(self, planned: Planned, shard: str | None = None) -> Work:
        prepare = planned.parent(self, "prepare")
        one = self.evaluation(planned, prepare.work(planned).megapixels if prepare else 0)
        images = self.photos.steps * self.photos.batch_size if self.photos else 0
        return replace(one, flops=3 * images * one.flops)

    def evaluation(self, planned: Planned, megapixels: float) -> Work:
        from palette.scoring.extractors import EXTRACTORS

        extractor = EXTRACTORS[self.extractor]
        per_pixel, trained = extractor.flops_per_pixel, extractor.trained_flops_per_pixel
        if self.photos and trained:
            per_pixel = trained(self.photos.channels)
        return Work(extractor.flops + per_pixel * megapixels * 1e6, network=self.extractor)


def run(stage: Stage[ExtractorSpec]) -> None:
    """Train, download or check the network, and describe it."""
    from palette.scoring import extractor_job

    extractor_job.run(stage)
