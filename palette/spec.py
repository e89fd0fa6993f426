"""The spec of a stage: all that its result depends on, and nothing else.

A stage reads its spec and its parents' files and writes its own folder, `results/<kind>/<name>-<hash>/`. The hash covers every
field below except `name` and `runtime`; the parents enter with their own hashes. So a changed option, a changed line of engine code
or a changed parent gives another folder, and what is on disk under a name is always what that name says.
"""

import hashlib
import json
from collections.abc import Sequence
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
    Sampler,
    Squares,
    Table,
)
from palette.errors import ConfigError
from palette.files import write_text

# Those in C are ten times faster, which counts with thousands of specs; PyYAML has them where it was built with libyaml.
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class Runtime(Options):
    """How a stage is run. Changes no result, so it is outside the hash."""

    threads: int = 1
    """CPU cores."""
    gpus: int = 0
    """GPUs."""
    weights: Path | None = None
    """Where pretrained weights were found when the plan was made."""


class PrepareRuntime(Runtime):
    """When a dataset is too bad to go on with, and where the list of its test images is."""

    bad_limit: float = 0.001
    strict: bool = False
    test_list: Path | None = None


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


class Spec(Options):
    """Base of all kinds."""

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
        return str(yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120))

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


PARTS = ".parts"
"""Folder in that of a `prepare` stage, of what is being made; a run that was killed goes on from it."""


class PrepareSpec(Spec):
    """fetch → `train.zip`, `test.zip`; of pairs, `train-conditions.zip` and `test-conditions.zip` too."""

    kind = "prepare"
    verb = "prepare"
    runtime: PrepareRuntime = PrepareRuntime()
    prepare: Squares
    test_list_sha256: str | None = None
    """Of the list of test images; None: they are drawn."""


class MaskSpec(Spec):
    """→ `masks.zip`, `masks.png`: one mask per test image. Depends on sizes only, not on the images."""

    kind = "mask"
    verb = "mask"
    runtime: MaskRuntime = MaskRuntime()
    mask: MaskKind | Literal["own"]
    masks_sha256: str | None = None
    """Of the user's masks; None: they are drawn."""
    image_size: int
    count: int


class TrainSpec(Spec):
    """prepare → `model.safetensors`, `model.json`, `log.jsonl`; with `ema_widths`, `averages.safetensors`.

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
    """Folder of the train stage, or of the released model that stands for it."""
    prepare: str
    """Folder of the prepare stage."""
    mask: str | None = None
    """Folder of the mask stage."""

    @property
    def training(self) -> str | None:
        """Folder of the train stage, if the model is trained here."""
        return self.train if self.train and self.train.startswith("train/") else None

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


def compared(rows: Sequence[Row], fields: Sequence[str]) -> list[list[Row]]:
    """Trained rows that differ in these fields, and perhaps in their seed, but are otherwise alike: groups of two or more."""
    fixed = [name for name in ("dataset", "task", "model", "sampler", "steps") if name not in fields]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row.train:
            groups.setdefault(tuple(getattr(row, name) for name in fixed), []).append(row)
    return [g for g in groups.values() if len({tuple(getattr(row, name) for name in fields) for row in g}) > 1]


PLOTS = {"steps": ("steps",), "evaluations": ("sampler",), "cost": ("model", "sampler", "steps")}
"""Plot → the fields by which the rows differ that it compares."""


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
    draws: int
    """Samples of one input."""
    draw_inputs: int
    """The test images that have several draws: the first ones."""
    tables: dict[str, str]
    """Table → hash of its tabulate stage, whose folder carries none."""
    rows: tuple[Row, ...]
    gallery: dict[str, GalleryImages] = Field(default_factory=dict)
    """Dataset → the test images in the gallery; empty for no gallery."""

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the pictures: of each dataset and task with a trained model its panels, several samples and failures; the
        overview of them, the training curves, the plots that have rows to compare, and the masks.
        """
        trained = [row for row in self.rows if row.train]
        tests = dict.fromkeys(f"{row.dataset}-{row.task}.png" for row in trained)
        drawn = dict.fromkeys(f"{row.dataset}-{row.task}.png" for row in trained if row.sampler and self.draws > 1)
        made = (*tests, *(f"draws/{name}" for name in drawn), *(f"failures/{name}" for name in tests))
        curves = ("training.svg",) if any(row.training for row in trained) else ()
        plots = [f"{name}.svg" for name, fields in PLOTS.items() if compared(self.rows, fields)]
        return (*made, *(("overview.png", *curves, *plots) if tests else ()), *self.mask_sheets)

    @property
    def mask_sheets(self) -> dict[str, Row]:
        """Pictures of evaluation masks: name → a row that is evaluated with them."""
        return {f"masks-{row.dataset}-{row.condition}.png": row for row in reversed(self.rows) if row.mask}

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
        ReleasedSpec,
        SampleSpec,
        ExtractorSpec,
        FeaturesSpec,
        StatisticsSpec,
        ScoreSpec,
        TabulateSpec,
        ReportSpec,
    )
}


def read_spec(path: Path) -> Spec:
    """Read a stage's `spec.yaml`. Raises ConfigError for what is not one, or was edited by hand."""
    try:
        content: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader)
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
