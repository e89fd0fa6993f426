"""Every option of the workflow, once: name, type, range, default, meaning.

The JSON schema for editors (`workflow/schemas/config.schema.json`) and the reference in `docs/config.md` are generated from
these classes. Reading a config file, with all its mistakes reported at once, is in `palette/config_file.py`.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$", max_length=60)]
Share = Annotated[float, Field(ge=0, le=1)]
DEGRADATIONS = tuple(sorted(file.stem for file in (Path(__file__).parent / "data/tasks").glob("[!_]*.py")))
"""A task is a file of that folder; a new file is a new task."""


def _known(name: str) -> str:
    if name not in DEGRADATIONS:
        raise ValueError(f"should be one of {', '.join(DEGRADATIONS)}")
    return name


Degradation = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(DEGRADATIONS)})]
MaskKind = Literal["free-form-10-20", "free-form-20-30", "free-form-30-40", "centre", "right"]
Metric = Literal["fd", "kid", "is", "ca", "pd", "psnr", "ssim", "chroma", "chroma-ratio"]

BASELINES = ("input", "originals")
"""Rows that need no training: the degraded input itself, and the untouched test images."""


class Options(BaseModel):
    """Base of every section: unknown keys are refused, values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


# ------------------------------------------------------------------------------------------------ datasets


class Fetch(Options):
    source: Literal["photos", "folder"] = "photos"
    """`photos`: the photographs that scikit-image ships (public domain or CC0). `folder`: your own images."""
    path: Path | None = None
    """`folder` only: the folder, read recursively; each sub-folder of it is a class."""

    @model_validator(mode="after")
    def folder_has_path(self) -> Self:
        if (self.source == "folder") != (self.path is not None):
            raise ValueError("`path` goes with `source: folder`, and only with it")
        return self


class Prepare(Options):
    image_size: int = Field(64, ge=8, le=2048)
    """Side of the square images, in pixels."""
    train_images: int = Field(4096, ge=1)
    """Training crops (`photos`), or the number of images used for training (`folder`)."""
    test_images: int = Field(256, ge=2)
    """Test crops or images. Never seen in training, not one pixel."""
    seed: int = Field(0, ge=0)
    """Draws the crops, and the split of a folder."""


class Dataset(Options):
    fetch: Fetch = Fetch()
    """Where the original images come from."""
    prepare: Prepare = Prepare()
    """How they become square images of one size, in a training and a test store."""


# --------------------------------------------------------------------------------------------------- tasks


class Task(Options):
    degradation: Degradation
    """What is done to an image. Training draws its strength anew for each image, as the paper does."""
    mask: MaskKind | None = None
    """Evaluation mask of inpainting and uncropping. Default: `centre` for inpainting, `right` for uncropping."""
    quality: int | None = Field(None, ge=1, le=95)
    """Evaluation quality of JPEG. Default: 10. The paper's tables use 5, 10 and 20."""

    @model_validator(mode="after")
    def options_fit_the_degradation(self) -> Self:
        if self.mask is not None and self.degradation not in ("inpainting", "uncropping"):
            raise ValueError(f"`mask` has no meaning for {self.degradation}; it goes with inpainting and uncropping")
        if self.degradation == "uncropping" and self.mask not in (None, "right"):
            raise ValueError(f"uncropping is evaluated with mask `right`, got {self.mask!r}")
        if self.degradation == "inpainting" and self.mask == "right":
            raise ValueError("mask `right` belongs to uncropping; inpainting takes `centre` or a free-form mask")
        if self.quality is not None and self.degradation != "jpeg":
            raise ValueError(f"`quality` has no meaning for {self.degradation}; it goes with jpeg")
        return self

    @property
    def evaluation_mask(self) -> MaskKind | None:
        return self.mask or {"inpainting": "centre", "uncropping": "right"}.get(self.degradation)  # type: ignore[return-value]

    @property
    def evaluation_quality(self) -> int | None:
        return (self.quality or 10) if self.degradation == "jpeg" else None


# -------------------------------------------------------------------------------------------------- models


class Network(Options):
    """The U-Net of ADM (Dhariwal & Nichol 2021), as the paper uses it. The paper's values are in brackets."""

    channels: int = Field(64, ge=8)
    """Channels at full resolution [256]. A multiple of 8."""
    multipliers: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 2, 4, 8), min_length=1)
    """Channel multiplier of each resolution level, finest first [1, 1, 2, 2, 4, 4]."""
    blocks: int = Field(2, ge=1)
    """Residual blocks per level [2]."""
    attention: tuple[Annotated[int, Field(ge=1)], ...] = (32, 16, 8)
    """Resolutions of the feature map, in pixels, that get self-attention [32, 16, 8]."""
    head_channels: int = Field(64, ge=1)
    """Channels per attention head [64]."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout inside the residual blocks [not stated; 0]."""
    patch_size: Literal[1, 2, 4] = 1
    """Side of the pixel blocks that are folded into channels before the first convolution [1].
    2 makes the network about four times cheaper."""

    @model_validator(mode="after")
    def channels_divide(self) -> Self:
        if self.channels % 8:
            raise ValueError(f"`channels` must be a multiple of 8, got {self.channels}")
        return self

    @property
    def reduction(self) -> int:
        """Image sides must be multiples of this, in pixels."""
        return int(self.patch_size * 2 ** (len(self.multipliers) - 1))


class Objective(Options):
    kind: Literal["edm", "epsilon", "x0", "v", "regression"] = "edm"
    """What the network predicts. `epsilon` is the paper's; `edm` (Karras et al. 2022) learns color far sooner;
    `regression` is the paper's baseline."""
    loss: Literal["l2", "l1"] = "l2"
    """Norm of the error. The paper's tables use `l2`; `l1` is Table 6."""


class Train(Options):
    steps: int = Field(10_000, ge=1)
    """Optimizer steps [1,000,000]. Raising it continues a finished training."""
    batch_size: int = Field(16, ge=1)
    """Images per optimizer step over all devices together [1024]."""
    accumulate: int = Field(1, ge=1)
    """Micro-batches per optimizer step and device; saves memory, changes nothing else."""
    learning_rate: float = Field(1e-4, gt=0)
    """Adam's, constant after the warm-up [1e-4]."""
    warmup: int = Field(1_000, ge=0)
    """Steps over which the learning rate rises linearly from 0 [10,000]."""
    ema: float = Field(0.9999, ge=0, lt=1)
    """Decay of the averaged weights that are used for sampling [0.9999]; ramped up at the start, so that early noise is forgotten."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient [not stated]."""
    flip: bool = True
    """Mirror half of the training images [not stated]."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the network. `bf16` needs hardware with bfloat16 instructions."""
    checkpoint_every: int = Field(1_000, ge=1)
    """Steps between saved training states."""
    gpus: int = Field(1, ge=0)
    """GPUs asked of Snakemake for this training. More than one runs under torchrun."""
    threads: int = Field(1, ge=1)
    """CPU cores asked of Snakemake for this training."""


class Model(Options):
    network: Network = Network()
    """The network."""
    objective: Objective = Objective()
    """What it is trained to predict."""
    train: Train = Train()
    """How it is trained."""
    mix: dict[Degradation, Annotated[float, Field(gt=0)]] | None = None
    """One generalist for several tasks (Table 7) with their proportions. Default: a specialist for each task."""


# ------------------------------------------------------------------------------------------------ sampling


class Sampler(Options):
    kind: Literal["ancestral", "ddim", "dpm++2m", "dpm++2m-sde", "heun"] = "dpm++2m"
    """The algorithm. `ancestral` is the paper's."""
    steps: int = Field(20, ge=1, le=10_000)
    """Steps; `heun` evaluates the network twice in each [1000]."""
    eta: float = Field(0.0, ge=0, le=1)
    """`ddim` only: 0 is deterministic, 1 is as noisy as ancestral sampling."""

    @model_validator(mode="after")
    def eta_is_ddims(self) -> Self:
        if self.eta and self.kind != "ddim":
            raise ValueError(f"`eta` goes with `kind: ddim`, not {self.kind}")
        return self


class Sample(Options):
    batch_size: int = Field(16, ge=1)
    """Images sampled at a time. Changes no image."""
    shard_size: int = Field(512, ge=1)
    """Test images per sampling and scoring job. Changes no result."""
    draws: int = Field(4, ge=1, le=16)
    """Samples of the same input, for the figures."""
    draw_inputs: int = Field(8, ge=1)
    """Number of inputs that get several draws: the first ones of the test set."""
    threads: int = Field(1, ge=1)
    """CPU cores per sampling or scoring job."""


class Experiment(Options):
    """One row; a list in any field stands for one row per element."""

    dataset: Name | tuple[Name, ...]
    """A name from `datasets`."""
    task: Name | tuple[Name, ...] | None = None
    """A name from `tasks`. `originals` needs none."""
    model: Name | tuple[Name, ...]
    """A name from `models`, or `input` or `originals`."""
    sampler: Name | tuple[Name, ...] | None = None
    """A name from `samplers`, for diffusion models."""
    seed: Annotated[int, Field(ge=0)] | tuple[Annotated[int, Field(ge=0)], ...] = 0
    """Seed of training and sampling."""


# -------------------------------------------------------------------------------------- scores and outputs


class Extractor(Options):
    """The classifier of the photographs, which stands in where no pretrained network is at hand.

    Its distances are called FD-photos, never FID.
    """

    steps: int = Field(400, ge=1)
    """Training steps."""
    batch_size: int = Field(64, ge=2)
    """Images per step."""
    learning_rate: float = Field(2e-3, gt=0)
    """AdamW's peak, on a cosine schedule."""
    channels: int = Field(32, ge=8)
    """Width of the first stage; the feature vector has four times as many entries."""


class Score(Options):
    extractors: tuple[Literal["photos", "inception"], ...] = Field(("photos",), min_length=1)
    """Feature networks. `inception` is the 2015 network through clean-fid and gives FID; it needs its weights."""
    photos: Extractor = Extractor()
    """How the `photos` classifier is trained."""
    weights: Path | None = None
    """Folder of pretrained weights; the environment variable PALETTE_WEIGHTS names it too."""
    download: bool = False
    """Download missing weights from their authors."""
    is_splits: int = Field(10, ge=1)
    """Splits of the Inception Score."""
    bootstrap: int = Field(200, ge=0)
    """Resamples behind the 95 % intervals."""


class Table(Options):
    title: str = ""
    """Heading of the table."""
    experiments: tuple[str, ...] = ("*",)
    """Which rows: names of experiments, or shell patterns over them."""
    columns: tuple[Metric, ...] = Field(("fd", "is", "ca", "pd", "psnr", "ssim", "chroma-ratio"), min_length=1)
    """Which scores, in order."""
    published: dict[Name, Annotated[int, Field(ge=1, le=11)]] = {}
    """For each task, the table of the paper whose numbers stand beside ours."""


class Report(Options):
    title: str = "Palette"
    """Heading of the pages."""
    inputs: int = Field(4, ge=1, le=32)
    """Test images in each task's figure."""


class Config(Options):
    """The whole workflow: what exists (datasets, tasks, models, samplers), what is run (experiments), what comes out (tables)."""

    results: Path = Path("results")
    """Folder of everything that is made."""
    datasets: dict[Name, Dataset] = Field(min_length=1)
    """Images, by name."""
    tasks: dict[Name, Task] = Field(min_length=1)
    """Degradations and how they are evaluated, by name."""
    models: dict[Name, Model] = {}
    """Networks with their objective and training, by name."""
    samplers: dict[Name, Sampler] = {}
    """Ways to sample, by name."""
    sample: Sample = Sample()
    """Options of every sampling job."""
    score: Score = Score()
    """Feature networks and statistics."""
    experiments: tuple[Experiment, ...] = Field(min_length=1)
    """The rows: dataset × task × model × sampler × seed."""
    tables: dict[Name, Table] = {"all": Table()}
    """The tables made from them, by name."""
    report: Report = Report()
    """The pages made from it all."""
