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
    Fetch,
    MaskKind,
    Network,
    Objective,
    Options,
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
    checkpoint_every: int = 1_000
    """Steps between saved training states."""
    weights: Path | None = None
    """Where pretrained weights were found when the plan was made."""


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
        content = {"kind": self.kind, **self.model_dump(mode="json", exclude=exclude)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]

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
    """→ `images/…` or a listing of the user's folder, in `manifest.json`."""

    kind = "fetch"
    verb = "fetch"
    fetch: Fetch
    listing: str | None = None
    """Digest of a folder's file names and sizes, so that a new image is noticed."""


class PrepareSpec(Spec):
    """fetch → `train.zip`, `test.zip`."""

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
    """prepare → `model.safetensors`, `model.json`, `log.jsonl`."""

    kind = "train"
    verb = "train"
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
    clip: float
    flip: bool
    precision: Literal["fp32", "bf16"]

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


class ExtractorSpec(Spec):
    """prepare → `extractor.json` and, for photos, `classifier.safetensors`."""

    kind = "extractor"
    verb = "score"
    extractor: Literal["photos", "inception"]
    photos: Extractor | None
    image_size: int
    sha256: str | None
    """Of the pretrained weights."""


class FeaturesSpec(Spec):
    """extractor, prepare, sample → `shard-000.npz`. Without the parent `sample`, the originals."""

    kind = "features"
    verb = "score"
    count: int
    shard_size: int


class ScoreSpec(Spec):
    """`features-E` and `reference-E` for each extractor E → `scores.json`."""

    kind = "score"
    verb = "score"
    extractors: tuple[str, ...]
    count: int
    shard_size: int
    is_splits: int
    bootstrap: int


class Row(Options):
    """One experiment, as the tables and pages show it."""

    experiment: str
    dataset: str
    task: str | None
    degradation: Degradation | None
    condition: str | None
    """Evaluation mask or JPEG quality."""
    model: str
    sampler: str | None
    evaluations: int | None
    """NFE per image; None for rows without a network."""
    seed: int
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


class TabulateSpec(Spec):
    """Every row's score → `<table>.csv`, `.md`, `.tex`."""

    kind = "tabulate"
    verb = "tabulate"
    keeps_old = False
    tables: dict[str, Table]
    rows: tuple[Row, ...]


class ReportSpec(Spec):
    """Tables, samples and training logs → figures and `index.html`."""

    kind = "report"
    verb = "report"
    keeps_old = False
    title: str
    inputs: int
    draw_inputs: int
    """The test images that have several draws: the first ones."""
    tables: tuple[str, ...]
    tabulate: str
    """Hash of the tabulate stage, whose folder carries none."""
    rows: tuple[Row, ...]

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the pictures: one per dataset and task with a trained model, the overview of them, the training curves."""
        tests = dict.fromkeys(f"{row.dataset}-{row.task}.png" for row in self.rows if row.train)
        return (*tests, "overview.png", "training.svg") if tests else ()


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
