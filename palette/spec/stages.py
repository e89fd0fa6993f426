"""The specs of all stages but the pages."""

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from palette.config.datasets import Fetch, KnownDataset, Squares
from palette.config.models import Network, Objective
from palette.config.sampling import Sampler
from palette.config.scores import Extractor, ExtractorKind
from palette.config.tasks import Degradation, MaskKind, MasksBy
from palette.spec.base import Runtime, Spec

PARTS = ".parts"
"""Folder in that of a `prepare` stage, of what is being made; a run that was killed goes on from it."""


class PrepareRuntime(Runtime):
    """The limits at which `prepare` stops, and the list of test images."""

    bad_limit: float = 0.001
    strict: bool = False
    test_list: Path | None = None
    classes: int = 1
    """Fewest classes that its scores need, where the plan could not count them."""


class MaskRuntime(Runtime):
    """Where the user's masks are."""

    masks: Path | None = None


class TrainRuntime(Runtime):
    """The options of `train` that change no result beyond rounding, and where the weights to start from are."""

    checkpoint_every: int = 1_000
    checkpoint_minutes: float = 30.0
    checkpoints_kept: int = 2
    milestones: tuple[int, ...] = ()
    validate_every: int = 1_000
    preview_every: int = 0
    tensorboard: bool = False
    compile: bool = False
    recompute: bool = False
    scratch: str | None = None
    nodes: int = 1
    start_from: Path | None = None
    after: str | None = None
    """Folder of the next shorter training with the same state, which is continued."""

    @property
    def devices(self) -> int:
        """Processes that share a step, as planned. Fewer do the same in more micro-batches."""
        return max(self.gpus, 1) * self.nodes


class FetchSpec(Spec):
    """→ `images/…` or a listing of the user's folder, in `manifest.jsonl`."""

    kind = "fetch"
    verb = "fetch"
    fetch: Fetch
    known: KnownDataset | None = None
    """Of a published dataset, what the registry says of it."""
    listing: str | None = None
    """Digest of the user's file names and sizes, so that a new image is noticed."""

    def _content(self, exclude: set[str]) -> dict[str, Any]:
        """A published dataset is what its checksums say: where its files lie and who offers them changes nothing."""
        content = super()._content(exclude)
        if self.known is not None:
            kept = {"reader", "splits", "torchvision", "arguments", "files"}
            content["known"] = {key: value for key, value in content["known"].items() if key in kept}
            for file in [*content["known"]["files"], *content["fetch"]["files"]]:
                del file["urls"]
            del content["fetch"]["path"]
        return content


class PrepareSpec(Spec):
    """fetch → `train.zip`, `test.zip`, and `train-conditions.zip`, `test-conditions.zip`, which are empty unless it is of pairs."""

    kind = "prepare"
    verb = "prepare"
    runtime: PrepareRuntime = PrepareRuntime()
    prepare: Squares
    test_list_sha256: str | None = None
    """Of the list of test images; None: they are drawn."""


class MaskSpec(Spec):
    """→ `masks.zip`, `masks.png`: one mask per test image. Drawn ones depend on sizes only, not on the images; a folder's own are
    matched with the names of the images that `prepare` chose, unless they are dealt out by position.
    """

    kind = "mask"
    verb = "mask"
    runtime: MaskRuntime = MaskRuntime()
    mask: MaskKind | Literal["own"]
    masks_sha256: str | None = None
    """Of the user's masks; None: they are drawn."""
    masks_by: MasksBy | None = None
    """How a folder's masks find their test images; None: by whichever names fit."""
    image_size: int
    count: int


class TrainSpec(Spec):
    """prepare → `model.safetensors`, `averages.safetensors` (those of `ema_widths`), `model.json`, `log.jsonl`.

    Of several datasets, the parents are `prepare-NAME`.
    """

    kind = "train"
    verb = "train"
    runtime: TrainRuntime = TrainRuntime()
    mix: dict[Degradation, float]
    """Task → proportion; a specialist has one entry."""
    sources: dict[str, float] = Field(default_factory=lambda: {"prepare": 1.0})
    """Role of a parent → share of its images among the examples."""
    image_size: int
    network: Network
    objective: Objective
    seed: int
    steps: int
    batch_size: int
    accumulate: int
    learning_rate: float
    warmup: int
    ema: float
    ema_widths: tuple[float, ...]
    clip: float
    flip: bool
    precision: Literal["fp32", "bf16", "fp16"]
    validation_images: int
    start_sha256: str | None
    """Of the model that the training starts from; None: random weights."""

    @cached_property
    def state_key(self) -> str:
        """Names the training state: the hash without the number of steps, so that a longer training continues."""
        return self._digest({"name", "runtime", "steps"})


class ReleasedRuntime(Runtime):
    """Where a released model is to be had."""

    card: str = ""
    """Path or URL of its `model.json`."""


class ReleasedSpec(Spec):
    """→ `model.safetensors` and `model.json` of a model that others have trained, checked."""

    kind = "released"
    verb = "train"
    runtime: ReleasedRuntime = ReleasedRuntime()
    sha256: str
    """Of its `model.json`."""
    image_size: int
    objective: str
    """Its kind."""


class SampleRuntime(Runtime):
    """Where somebody's outputs lie."""

    folder: Path | None = None


class SampleSpec(Spec):
    """prepare, mask, train → `shard-000.zip` (draw 0 of each test image) and `draws-000.zip` (further draws of the first inputs)."""

    kind = "sample"
    verb = "sample"
    runtime: SampleRuntime = SampleRuntime()
    baseline: Literal["input", "folder"] | None
    """`input`: the degraded images themselves. `folder`: somebody's outputs. Otherwise the trained model samples."""
    outputs: str | None = None
    """Digest of the names and sizes of somebody's outputs, so that a changed file is noticed."""
    match_by: Literal["originals", "numbers"] | None = None
    """What their names are; None: whichever fits."""
    degradation: Degradation
    quality: int | None
    factor: int | None = None
    sampler: Sampler | None
    """None for regression, which is evaluated once."""
    seed: int
    image_size: int
    count: int
    """Test images."""
    batch_size: int
    shard_size: int
    draws: int
    draw_inputs: int


class ExtractorRuntime(Runtime):
    """Where an extractor's weights come from."""

    download: bool = False
    """Whether the job may download them to `weights`."""


class ExtractorSpec(Spec):
    """prepare → `extractor.json` and, for photos, `classifier.safetensors`. Those that know no classes need no dataset."""

    kind = "extractor"
    verb = "score"
    runtime: ExtractorRuntime = ExtractorRuntime()
    extractor: ExtractorKind
    photos: Extractor | None
    sha256: str | None
    """Of the pretrained weights."""


class FeaturesSpec(Spec):
    """extractor, prepare, sample → `shard-000.npz`. Without the parent `sample`, the originals."""

    kind = "features"
    verb = "score"
    count: int
    shard_size: int
    sample_shard_size: int
    """Test images in a shard of the samples, of which a shard of features takes one or several whole ones."""
    pixels: bool
    """Whether to measure what needs no network too: one of a row's extractors does."""


class StatisticsSpec(Spec):
    """features of a set that rows are compared with → `statistics.npz`."""

    kind = "statistics"
    verb = "score"
    count: int
    shard_size: int


class ScoreSpec(Spec):
    """`extractor-E`, `features-E`, and where they are needed `originals-E`, `reference-E` and `statistics-E`, for each extractor E
    → `scores.json`.
    """

    kind = "score"
    verb = "score"
    extractors: tuple[str, ...]
    count: int
    reference_count: int | None
    """Images of the reference; None: the originals."""
    shard_size: int
    is_splits: int
    pd: Literal["euclidean", "squared"]
    bootstrap: int
