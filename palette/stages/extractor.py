"""Extractor that measures a dataset's images → `extractor.json`.

It is a classifier trained here (`photos`), pretrained weights that are checked, or a formula.
"""

from palette.config.scores import ExtractorKind, PhotoClassifier
from palette.stages.base import Runtime, Spec, Usual
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


def run(stage: Stage[ExtractorSpec]) -> None:
    """Train, download or check the network, and describe it."""
    from palette.scoring import extractor_job

    extractor_job.run(stage)
