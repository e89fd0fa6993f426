"""What measures the images of a dataset: a classifier trained here (`photos`), pretrained weights that are checked, or a formula.

→ `extractor.json`
"""

from collections.abc import Mapping
from typing import ClassVar

from palette.config.scores import Extractor, ExtractorKind
from palette.stages.base import Runtime, Spec, Usual
from palette.stages.stage import Stage


class ExtractorRuntime(Runtime):
    """Where an extractor's weights come from."""

    download: bool = False
    """Whether the job may download them to `weights`."""


class ExtractorSpec(Spec):
    """prepare → `extractor.json` and, for photos, `classifier.safetensors`. Those that know no classes need no dataset."""

    kind = "extractor"
    verb = "score"
    reads = ("prepare",)
    files = ("extractor.json",)
    usual = Usual(memory_gb=16, hours=4)
    options: ClassVar[Mapping[str, str]] = {
        "photos": "score.photos",
        "sha256": "the weights of this extractor",
        "extractor": "score.extractors",
    }
    runtime: ExtractorRuntime = ExtractorRuntime()
    extractor: ExtractorKind
    photos: Extractor | None
    sha256: str | None
    """Of the pretrained weights."""


def run(stage: Stage[ExtractorSpec]) -> None:
    """Make, download or check the network, and describe it."""
    from palette.scoring import extractor_job

    extractor_job.run(stage)
