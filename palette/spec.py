"""The spec of a stage: all that its result depends on, and nothing else.

A stage reads its spec and its parents' files and writes its own folder, `results/<kind>/<name>-<hash>/`. The hash covers every
field below except `name` and `runtime`; the parents enter with their own hashes. So a changed option, a changed line of engine code
or a changed parent gives another folder, and what is on disk under a name is always what that name says.
"""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml
from pydantic import Field, ValidationError

from palette.config import (
    Degradation,
    Extractor,
    ExtractorKind,
    Fetch,
    KnownDataset,
    MaskKind,
    Network,
    Objective,
    Options,
    PaperDataset,
    Prepare,
    Sampler,
    Table,
)
from palette.errors import ConfigError
from palette.files import write_text


class Runtime(Options):
    """How a stage is run. Changes no result, so it is outside the hash."""

    threads: int = 1
    """CPU cores."""
    gpus: int = 0
    """GPUs."""
    weights: Path | None = None
    """Where pretrained weights were found when the plan was made."""


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
    nodes: int = 1
    start_from: Path | None = None
    after: str | None = None
    """Folder of the next shorter training with the same state, which is continued."""

    @property
    def devices(self) -> int:
        """Processes that share a step, as planned. Fewer do the same in more micro-batches."""
        return max(self.gpus, 1) * self.nodes


class Spec(Options):
    """Base of the ten kinds."""

    kind: ClassVar[str]
    verb: ClassVar[str]
    """The CLI subcommand that runs it."""
    keeps_old: ClassVar[bool] = True
    """Whether results of several specs stand side by side, each in a folder with its hash."""

    name: str
    """For people; says which row or dataset this is."""
    engine: str = ""
    """Fingerprint of the code that runs (`palette/fingerprint.py`)."""
    parents: dict[str, str] = Field(default_factory=dict)
    """Role → folder of the stage that it reads, relative to the results folder."""
    runtime: Runtime = Runtime()

    @cached_property
    def hash(self) -> str:
        """Ten hex digits over everything that the result depends on."""
        return self._digest({"name", "runtime"})

    def _digest(self, exclude: set[str]) -> str:
        return hashlib.sha256(json.dumps(self._content(exclude), sort_keys=True).encode()).hexdigest()[:10]

    def _content(self, exclude: set[str]) -> dict[str, Any]:
        """What the hash covers."""
        return {"kind": self.kind, **self.model_dump(mode="json", exclude=exclude)}

    @cached_property
    def folder(self) -> str:
        """Folder of the results, relative to the results folder: `train/photos-jpeg-palette-s0-1a2b3c4d5e`."""
        return f"{self.kind}/{self.name}-{self.hash}" if self.keeps_old else self.kind

    @cached_property
    def card(self) -> str:
        """The card of a stage that is one job, relative to the results folder: written last. Shards have cards of their own."""
        return f"{self.folder}/card.json" if self.keeps_old else f"{self.folder}/card-{self.hash}.json"

    def text(self) -> str:
        """The spec as YAML, in the order of its fields."""
        content = {"kind": self.kind, "hash": self.hash, **self.model_dump(mode="json")}
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)

    def write(self, results: Path) -> Path:
        """Write `spec.yaml` into the stage's folder unless the same text is there; return its path."""
        path = results / self.folder / "spec.yaml"
        text = self.text()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
        return path


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
    """fetch → `train.zip`, `test.zip`; of pairs, `train-conditions.zip` and `test-conditions.zip` too."""

    kind = "prepare"
    verb = "prepare"
    prepare: Prepare


class MaskSpec(Spec):
    """→ `masks.zip`: one mask per test image. Depends on sizes only, not on the images."""

    kind = "mask"
    verb = "mask"
    mask: MaskKind
    image_size: int
    count: int


class TrainSpec(Spec):
    """prepare → `model.safetensors`, `model.json`, `log.jsonl`; with `ema_widths`, `averages.safetensors`."""

    kind = "train"
    verb = "train"
    runtime: TrainRuntime = TrainRuntime()
    mix: dict[Degradation, float]
    """Task → proportion; a specialist has one entry."""
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


class SampleSpec(Spec):
    """prepare, mask, train → `shard-000.zip` (draw 0 of each test image) and `draws-000.zip` (further draws of the first inputs)."""

    kind = "sample"
    verb = "sample"
    baseline: Literal["input"] | None
    """`input`: the degraded images themselves; otherwise the trained model samples."""
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


class ScoreSpec(Spec):
    """`extractor-E`, `features-E`, and where they are needed `originals-E` and `reference-E`, for each extractor E → `scores.json`."""

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


class Row(Options):
    """One experiment, as the tables and pages show it."""

    experiment: str
    dataset: str
    task: str | None
    degradation: Degradation | None
    condition: str | None
    """Evaluation mask, JPEG quality, or factor of super-resolution."""
    model: str
    sampler: str | None
    evaluations: int | None
    """NFE per image; None for rows without a network."""
    seed: int
    steps: int | None = None
    """Optimizer steps of its training, where they are not the model's own."""
    score: str
    """Folder of the score stage."""
    sample: str | None = None
    """Folder of the sample stage; None for the originals."""
    train: str | None = None
    """Folder of the train stage."""
    prepare: str
    """Folder of the prepare stage."""
    mask: str | None = None
    """Folder of the mask stage."""

    @property
    def milestone(self) -> str | None:
        """`at step 100`, of a row on the way to the model's own steps or beyond."""
        return f"at step {self.steps}" if self.steps else None


class Evaluated(Options):
    """A dataset as the tables describe it."""

    published: PaperDataset | None
    """Its name in the paper's tables; None: other images than the paper's."""
    image_size: int
    images: int
    """Test images."""
    reference_images: int | None
    """Images that FID compares with; None: the originals of the test images."""


class TabulateSpec(Spec):
    """The scores of one table's rows → `<table>.csv`, `.md`, `.tex`, `.html`. Of a table of the paper with sizes of networks,
    the trainings too."""

    kind = "tabulate"
    verb = "tabulate"
    keeps_old = False
    table: Table
    rows: tuple[Row, ...]
    datasets: dict[str, Evaluated]
    """Of the rows, by name."""

    @cached_property
    def folder(self) -> str:
        return f"{self.kind}/{self.name}"


class GalleryImages(Options):
    """The test images of one dataset that the gallery shows, and how they lie in sheets."""

    images: int
    size: int
    """Side of an image, in pixels."""

    @property
    def across(self) -> int:
        """Images in a row of a sheet; as many rows make it a square of at most 2048 pixels, or one image."""
        return max(1, min(16, 2048 // self.size))

    @property
    def sheets(self) -> int:
        return -(-self.images // self.across**2)


class ReportSpec(Spec):
    """Tables, samples and training logs → figures, `gallery/` and `index.html`."""

    kind = "report"
    verb = "report"
    keeps_old = False
    title: str
    inputs: int
    draw_inputs: int
    """The test images that have several draws: the first ones."""
    tables: dict[str, str]
    """Table → hash of its tabulate stage, whose folder carries none."""
    rows: tuple[Row, ...]
    gallery: dict[str, GalleryImages] = Field(default_factory=dict)
    """Dataset → the test images in the gallery; empty for no gallery."""

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the pictures: one per dataset and task with a trained model, the overview of them, the training curves."""
        tests = dict.fromkeys(f"{row.dataset}-{row.task}.png" for row in self.rows if row.train)
        return (*tests, "overview.png", "training.svg") if tests else ()

    @property
    def gallery_sets(self) -> dict[str, GalleryImages]:
        """The gallery's sets of pictures, by name."""
        rows = [row for row in self.rows if row.dataset in self.gallery]
        return {name: self.gallery[row.dataset] for row in rows for name in picture_sets(row).values()}

    @property
    def gallery_files(self) -> tuple[str, ...]:
        """Names of the gallery's files; none where it shows nothing."""
        sheets = [sheet_name(name, n) for name, images in self.gallery_sets.items() for n in range(images.sheets)]
        return ("index.html", "preview.html", *sheets) if sheets else ()


def picture_sets(row: Row) -> dict[str, str]:
    """The pictures that the gallery has of a row: `input`, `output`, `original` → name of a set of sheets.

    Rows share what is the same: a dataset's originals, a task's inputs. The row of the inputs has them as its output.
    """
    inputs, originals = f"inputs/{row.dataset}/{row.task}", f"originals/{row.dataset}"
    if row.sample is None:
        return {"original": originals}
    if row.model == "input":
        return {"output": inputs, "original": originals}
    return {"input": inputs, "output": f"outputs/{row.experiment}", "original": originals}


def sheet_name(pictures: str, number: int) -> str:
    """`outputs/photos-jpeg-palette-s0-000.png`."""
    return f"{pictures}-{number:03}.png"


KINDS: dict[str, type[Spec]] = {
    spec.kind: spec
    for spec in (
        FetchSpec,
        PrepareSpec,
        MaskSpec,
        TrainSpec,
        SampleSpec,
        ExtractorSpec,
        FeaturesSpec,
        ScoreSpec,
        TabulateSpec,
        ReportSpec,
    )
}


def read_spec(path: Path) -> Spec:
    """Read a stage's `spec.yaml`. Raises ConfigError for what is not one, or was edited by hand."""
    try:
        content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        kind, written = content.pop("kind"), content.pop("hash")
        spec = KINDS[kind].model_validate(content)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. `snakemake` writes the specs of a config when it runs.") from None
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError, ValidationError) as error:
        raise ConfigError(f"{path}: not the spec of a stage ({type(error).__name__}: {error}).") from None
    if spec.hash != written:
        raise ConfigError(
            f"{path}: edited by hand (hash {spec.hash}, says {written}). Change the config instead and run `snakemake`."
        )
    return spec
