"""Every option of the workflow, once: name, type, range, default, meaning.

The JSON schema for editors (`workflow/schemas/config.schema.json`) and the reference in `docs/config.md` are generated from
these classes. Reading a config file, with all its mistakes reported at once, is in `palette/config_file.py`.
"""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from PIL import ImageColor
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$", max_length=60)]
Share = Annotated[float, Field(ge=0, le=1)]
DEGRADATIONS = tuple(
    sorted(file.stem.replace("_", "-") for file in (Path(__file__).parent / "data/tasks").glob("[!_]*.py"))
)
"""A task is a file of that folder; a new file is a new task."""


def _known(name: str) -> str:
    if name not in DEGRADATIONS:
        raise ValueError(f"should be one of {', '.join(DEGRADATIONS)}")
    return name


PaperTable = Annotated[int, Field(ge=1, le=11)]
Degradation = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(DEGRADATIONS)})]
Filter = Literal["lanczos", "bicubic", "bilinear", "box", "area"]
MaskKind = Literal["free-form-10-20", "free-form-20-30", "free-form-30-40", "centre", "right"]
PaperDataset = Literal["imagenet", "places2", "places2-top-50", "places2-scenery"]
Metric = Literal[
    "fd",
    "sfid",
    "kid",
    "precision",
    "recall",
    "is",
    "ca",
    "pd",
    "lpips",
    "psnr",
    "ssim",
    "ms-ssim",
    "diversity-ms-ssim",
    "diversity-lpips",
    "chroma",
    "chroma-ratio",
]
ExtractorKind = Literal[
    "photos",
    "pixels",
    "inception",
    "inception-legacy-tensorflow",
    "inception-legacy-pytorch",
    "resnet50",
    "efficientnet-b0",
    "dinov2",
    "lpips",
    "ms-ssim",
]


def _absolute(path: Path) -> Path:
    """Without `~`, and from the root on: jobs may run in another folder than the one where the config was read."""
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"cannot be resolved: {error}") from None


Folder = Annotated[Path, AfterValidator(_absolute)]

Split = Literal["train", "test"]
Splits = dict[Split, str]
GpuName = Literal[
    "b200", "h200", "h100", "a100", "a100-40", "a40", "l40s", "l4", "v100", "t4", "rtx-4090", "rtx-3090", "cpu"
]

BASELINES = ("input", "originals")
"""Rows that need no training: the degraded input itself, and the untouched test images."""


class Options(BaseModel):
    """Base of every section: unknown keys are refused, values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


# ------------------------------------------------------------------------------------------------ datasets


class DataFile(Options):
    """A file that others publish, or that a user has."""

    file: str = Field(pattern=r"^[^/\x00.][^/\x00]*$", max_length=200)
    """Its name on disk, without a folder."""
    urls: tuple[str, ...] = ()
    """Its address, then mirrors. None: it cannot be downloaded without asking, or at all."""
    bytes: int | None = Field(None, ge=1)
    """Its length, where it is known."""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """Its SHA-256. Without one it is checked by `md5`; without either, what the first download brought is kept to."""
    md5: str | None = Field(None, pattern="^[0-9a-f]{32}$")
    """Its MD5, where its publisher states only that."""
    split: Split | None = None
    """Whether its pictures are for training or for testing. Default: both, as `splits` or `prepare` choose."""


class KnownDataset(Options):
    """A published dataset: an entry of the registry."""

    title: str
    """What it is called in the report."""
    reader: Literal["archive", "imagenet", "places365", "celeba", "celeba-hq", "torchvision"] = "archive"
    """How its files are read. `archive`: the first folder inside is the class. `torchvision`: by one of its classes."""
    files: tuple[DataFile, ...] = ()
    """What it is made of."""
    splits: Splits = {}
    """`archive` only: sub-folders or lists of training and test pictures."""
    torchvision: str | None = None
    """`torchvision` only: the name of its class in `torchvision.datasets`."""
    arguments: dict[Split, dict[str, str | bool]] = {}
    """`torchvision` only: what the class is called with, for each split."""
    images: dict[Split, int] = {}
    """How many there are."""
    classes: int = Field(1, ge=1)
    """How many classes."""
    version: str = ""
    """Which edition."""
    license: str = ""
    """Under which terms it may be used."""
    citation: str = ""
    """BibTeX."""
    homepage: str = ""
    """Where it is described."""
    by_hand: str = ""
    """How to get the files that nobody may download without asking."""

    @model_validator(mode="after")
    def torchvision_has_its_class(self) -> Self:
        if not (self.reader == "torchvision") == (self.torchvision is not None) == bool(self.arguments):
            raise ValueError("`torchvision` and `arguments` go with `reader: torchvision`, and only with it")
        return self


SOURCES = ("photos", "folder", "pairs", "archive")


class Fetch(Options):
    source: Name = "photos"
    """`photos`: the photographs that scikit-image ships (public domain or CC0). `folder`: your own images.
    `pairs`: your own images, each with a condition from which it is to be generated. `archive`: tar, tar.gz or ZIP files of images.
    Or a published dataset: `palette datasets` lists them, and a `registry` in the config adds to them."""
    path: Folder | None = None
    """Where your files lie. `folder`, `pairs`: the folder of the images, read recursively; each sub-folder of it is a class.
    `archive`: the file, or with `files` the folder for them. A published dataset: the folder of its files, or where downloads go;
    default: a folder of its name in the one that the environment variable PALETTE_DATA names, or in `data` of the results."""
    conditions: Folder | None = None
    """`pairs` only: the folder of the conditions, of the same names as the images. Endings may differ."""
    splits: Splits = {}
    """`folder`, `archive`: which images are for training and which for testing. Each is a sub-folder, whose own sub-folders are the
    classes, or a text file (absolute, or in `path`) that lists images, one path a line: relative to `path`, or without `path`
    to the list."""
    files: tuple[DataFile, ...] = ()
    """`archive`: files to be downloaded. A published dataset: its files, if not those of the registry."""

    @model_validator(mode="after")
    def source_has_its_folders(self) -> Self:
        if self.source in ("photos", "pairs") and (self.source == "pairs") != (self.path is not None):
            raise ValueError("`path` goes with `source: folder` or `source: pairs`, and not with `source: photos`")
        if (self.source == "pairs") != (self.conditions is not None):
            raise ValueError("`conditions` goes with `source: pairs`, and only with it")
        if self.source == "folder" and not (self.path or self.splits):
            raise ValueError("`source: folder` needs a `path`, or `splits` that list the images")
        if self.source == "archive" and not (self.path or self.files):
            raise ValueError("`source: archive` needs a `path`, or `files` to download")
        return self

    @model_validator(mode="after")
    def options_fit_the_source(self) -> Self:
        if self.splits and self.source in ("photos", "pairs"):
            raise ValueError(f"`splits` goes with `source: folder` and `source: archive`, not with {self.source}")
        if self.files and self.source in ("photos", "folder", "pairs"):
            raise ValueError(f"`files` goes with archives and published datasets, not with `source: {self.source}`")
        if self.splits and len(self.splits) < 2:
            raise ValueError("`splits` needs both `train` and `test`; without it all images are split at random")
        return self


def _color(name: str) -> str:
    ImageColor.getrgb(name)  # raises ValueError for what is no color
    return name


class Squares(Options):
    image_size: int = Field(64, ge=8, le=2048)
    """Side of the square images, in pixels."""
    train_images: int | None = Field(4096, ge=0)
    """Training crops (`photos`), or the number of images used for training (other sources); null: all that there are."""
    test_images: int = Field(256, ge=2)
    """Test crops or images. Never seen in training, not one pixel."""
    crop: Literal["centre", "random", "unscaled"] = "centre"
    """Of training pictures: the largest square in the middle; the largest square, somewhere [colorization]; or a square of
    `image_size` in the middle, without a change of scale. `photos` has crops of its own."""
    test_crop: Literal["centre", "unscaled"] = "centre"
    """The same of test pictures [inpainting: centre crops of 256 px]."""
    filter: Filter = "lanczos"
    """How squares are resized [not stated]. `box`: the mean of the pixels whose centers lie inside a new one; `area`: their mean
    weighted by area, as TensorFlow's."""
    background: Annotated[str, AfterValidator(_color)] = "white"
    """Color under transparent pixels, by its CSS name or as `#rrggbb`."""
    gray: bool = False
    """Leave pictures without color in one channel in the stores; other projects may not read such stores. Training and
    scoring see three equal channels in any case."""
    duplicates: Literal["report", "drop"] = "report"
    """Training pictures that are also in the test set, or nearly: report them, or leave them out of training too."""
    seed: int = Field(0, ge=0)
    """Draws the crops, and the split of pictures that have none."""


class Prepare(Squares):
    test_list: Folder | None = None
    """File of names, one a line: the test images are its first `test_images`, in its order. A name is a picture's path in
    the dataset, or the end of it, with or without its ending."""
    bad_limit: Share = 0.001
    """Share of the dataset's files that may be bad; with more, the run stops. A single one never stops it, unless this is 0."""
    strict: bool = False
    """Stop at the first bad file."""


class Dataset(Options):
    fetch: Fetch = Fetch()
    """Where the original images come from."""
    prepare: Prepare = Prepare()
    """How they become square images of one size, in a training and a test store."""
    threads: int = Field(2, ge=1)
    """CPU cores asked of Snakemake for fetching, and for preparing. Their number changes no byte."""
    reference: Name | None = None
    """Dataset whose test images FD, KID, precision and recall compare with. Default: this one's own, the originals.
    The paper compares 10,000 restored images with all 50,000 originals of the validation set."""
    published: PaperDataset | None = None
    """Which images of the paper's tables these are, so that its numbers stand beside those measured on them.
    Default: other images than the paper's, with which no difference is worked out."""


# --------------------------------------------------------------------------------------------------- tasks


class Task(Options):
    degradation: Degradation
    """What is done to an image. Training draws its strength anew for each image, as the paper does.
    `paired` shows the condition of a dataset of pairs instead."""
    mask: MaskKind | None = None
    """Evaluation mask of inpainting and uncropping. Default: `centre` for inpainting, `right` for uncropping."""
    masks: Folder | None = None
    """`inpainting` only: your own masks instead of drawn ones, mask i for test image i. A folder of black and white PNGs, sorted by
    name, white where the model must generate; or `imagenet_freeform_masks.npz`, the paper's, of which `mask` names the part.
    With a free-form `mask` their areas must be in its bin; without `mask` they may have any."""
    quality: int | None = Field(None, ge=1, le=95)
    """Evaluation quality of JPEG. Default: 10. The paper's tables use 5, 10 and 20."""
    factor: int | None = Field(None, ge=2, le=16)
    """Evaluation factor of super-resolution; `image_size` must be a multiple of it. Default: 4."""

    @model_validator(mode="after")
    def options_fit_the_degradation(self) -> Self:
        if self.mask is not None and self.degradation not in ("inpainting", "uncropping"):
            raise ValueError(f"`mask` has no meaning for {self.degradation}; it goes with inpainting and uncropping")
        if self.degradation == "uncropping" and self.mask not in (None, "right"):
            raise ValueError(f"uncropping is evaluated with mask `right`, got {self.mask!r}")
        if self.degradation == "inpainting" and self.mask == "right":
            raise ValueError("mask `right` belongs to uncropping; inpainting takes `centre` or a free-form mask")
        if self.masks is not None and (self.degradation != "inpainting" or self.mask == "centre"):
            raise ValueError("`masks` goes with inpainting, and with a free-form `mask` or none")
        if self.quality is not None and self.degradation != "jpeg":
            raise ValueError(f"`quality` has no meaning for {self.degradation}; it goes with jpeg")
        if self.factor is not None and self.degradation != "super-resolution":
            raise ValueError(f"`factor` has no meaning for {self.degradation}; it goes with super-resolution")
        return self

    @property
    def evaluation_mask(self) -> MaskKind | Literal["own"] | None:
        if self.masks is not None and self.mask is None:
            return "own"
        return self.mask or {"inpainting": "centre", "uncropping": "right"}.get(self.degradation)  # type: ignore[return-value]

    @property
    def evaluation_quality(self) -> int | None:
        return (self.quality or 10) if self.degradation == "jpeg" else None

    @property
    def evaluation_factor(self) -> int | None:
        return (self.factor or 4) if self.degradation == "super-resolution" else None


# -------------------------------------------------------------------------------------------------- models


class Network(Options):
    """The network. Defaults make a small one; the paper's values are in brackets."""

    backbone: Literal["adm", "sr3"] = "adm"
    """`adm`: the U-Net of Dhariwal & Nichol 2021, as the paper uses it. `sr3`: that of Saharia et al. 2021."""
    channels: int = Field(64, ge=8)
    """Channels at full resolution [256]. A multiple of 8."""
    multipliers: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 2, 4, 8), min_length=1)
    """Channel multiplier of each resolution level, finest first [1, 1, 2, 2, 4, 4]."""
    blocks: int = Field(2, ge=1)
    """Residual blocks per level [2]."""
    attention: tuple[Annotated[int, Field(ge=1)], ...] = (32, 16, 8)
    """Resolutions of the feature map, in pixels, that get self-attention [32, 16, 8]."""
    head_channels: int = Field(64, ge=1)
    """Channels per attention head [64]. `sr3` has one head."""
    context: Literal["global-attention", "local-attention", "dilated", "more-blocks"] = "global-attention"
    """How distant pixels come together at the resolutions of `attention`: the four rows of Table 5 [global-attention]."""
    noise_embedding: Literal["log-snr", "gamma", "timestep"] = "log-snr"
    """How the noise level is told. `gamma` and `timestep` are for imported weights: the unofficial code's and ADM's."""
    groups: int | None = Field(None, ge=1)
    """Groups of each GroupNorm. Default: 32, or fewer so that each has 4 channels or more."""
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

    @model_validator(mode="after")
    def groups_divide(self) -> Self:
        for channels in (self.channels * multiplier for multiplier in (1, *self.multipliers)):
            if self.groups and channels % self.groups:
                raise ValueError(f"`groups` {self.groups} does not divide the {channels} channels of a level")
        return self

    @model_validator(mode="after")
    def context_is_adms(self) -> Self:
        if self.backbone == "sr3" and self.context != "global-attention":
            raise ValueError(f"`context: {self.context}` goes with `backbone: adm`; `sr3` has global-attention only")
        return self

    @property
    def reduction(self) -> int:
        """Image sides must be multiples of this, in pixels."""
        return int(self.patch_size * 2 ** (len(self.multipliers) - 1))

    @property
    def attends(self) -> bool:
        """Whether there is any attention."""
        return self.context in ("global-attention", "local-attention")

    def sides(self, image_size: int) -> tuple[int, ...]:
        """Sides of the feature maps of images of that size, finest first."""
        return tuple(image_size // self.patch_size // 2**level for level in range(len(self.multipliers)))


class Objective(Options):
    kind: Literal["edm", "edm-plain", "epsilon", "x0", "v", "regression"] = "edm"
    """What the network predicts. `epsilon` is the paper's; `edm` (Karras et al. 2022) learns color far sooner, with the degraded
    image as its starting point; `edm-plain` has none, for pairs that look unlike; `regression` is the paper's baseline."""
    loss: Literal["l2", "l1"] = "l2"
    """Norm of the error. The paper's tables use `l2`; `l1` is Table 6."""
    weighting: Literal["none", "min-snr"] = "none"
    """Weight of each noise level: as the objective has it, or min(SNR, 5) in terms of x0 (Hang et al. 2023)."""

    @model_validator(mode="after")
    def weighting_has_a_meaning(self) -> Self:
        if self.weighting == "min-snr" and (self.kind == "regression" or self.loss != "l2"):
            raise ValueError("`weighting: min-snr` goes with `loss: l2` and an objective with noise levels")
        return self


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
    ema_widths: tuple[Annotated[float, Field(ge=0, le=0.28)], ...] = ()
    """Further averages to choose from after training, by their width as a share of the training (Karras et al. 2024,
    power-function EMA); 0.05 and 0.1 are good values, 0 keeps the weights themselves."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient [not stated]."""
    flip: bool = True
    """Mirror half of the training images [not stated]."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the network. `bf16` needs hardware with bfloat16 instructions, `fp16` a GPU."""
    validation_images: int = Field(0, ge=0)
    """Training images that are held out to measure the loss of the averaged weights on, drawn at random."""
    start_from: Folder | None = None
    """A model to start from, `model.safetensors` of a training or of `palette import`. Default: random weights."""
    checkpoint_every: int = Field(1_000, ge=1)
    """Steps between saved training states."""
    checkpoint_minutes: float = Field(30.0, gt=0)
    """Minutes after which a state is saved in any case."""
    checkpoints_kept: int = Field(2, ge=1)
    """Newest states that stay."""
    milestones: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Steps whose states stay for good."""
    validate_every: int = Field(1_000, ge=1)
    """Steps between validations, if there are `validation_images`."""
    preview_every: int = Field(0, ge=0)
    """Steps between sheets of restored images in the state folder; 0 makes none."""
    tensorboard: bool = False
    """Write the log for TensorBoard too, into the state folder. Needs `pip install tensorboard`."""
    compile: bool = False
    """Compile the network with torch.compile: minutes at the start, faster steps on a GPU."""
    recompute: bool = False
    """Recompute activations in the backward pass (gradient checkpointing): less memory, a third more work."""
    scratch: str | None = None
    """Folder on a disk of the machine that trains, `$TMPDIR` for example: the training store is copied there first, once per machine,
    and deleted afterwards. For results on a slow network disk. Default: the store is read where it is."""
    gpus: int = Field(1, ge=0)
    """GPUs of each node asked of Snakemake for this training. More than one runs under torchrun."""
    nodes: int = Field(1, ge=1)
    """Nodes asked of Slurm for this training; elsewhere one machine does the work of all of them."""
    threads: int = Field(1, ge=1)
    """CPU cores of each node asked of Snakemake for this training."""

    @property
    def devices(self) -> int:
        """Processes that share a step, each with its own GPU if there are GPUs."""
        return max(self.gpus, 1) * self.nodes


def _card_place(place: str) -> str:
    """A URL as it is, a path from the root on."""
    return place if re.match(r"https?://", place) else str(_absolute(Path(place)))


class Released(Options):
    card: Annotated[str, AfterValidator(_card_place)]
    """`model.json` of the model: a path, or an `https` address. `model.safetensors` lies beside it."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of that `model.json`, which in turn has that of the weights."""


class Model(Options):
    released: Released | None = None
    """A model that is trained already and taken as it is. Of the other options, only `objective.kind` counts then; it must be
    the model's own."""
    network: Network = Network()
    """The network."""
    objective: Objective = Objective()
    """What it is trained to predict."""
    train: Train = Train()
    """How it is trained."""
    mix: dict[Degradation, Annotated[float, Field(gt=0)]] | None = None
    """One generalist for several tasks (Table 7) with their proportions. Default: a specialist for each task."""
    train_on: Name | dict[Name, Annotated[float, Field(gt=0)]] | None = None
    """Dataset whose training images it learns from, or several with their proportions. Default: the dataset that it is tested
    on. Experiments on several test sets then share one training."""

    def trained_on(self, dataset: str) -> dict[str, float]:
        """Dataset → its share of the training images, for an experiment on `dataset`; sorted, together 1."""
        chosen = self.train_on or dataset
        weights = {chosen: 1.0} if isinstance(chosen, str) else chosen
        return {name: weights[name] / sum(weights.values()) for name in sorted(weights)}


class Outputs(Options):
    path: Folder
    """Folder of images, one for each test image of a row: named as the originals or by number (docs/tables.md). They must have the
    size of the test images, and are scored as they are."""


# ------------------------------------------------------------------------------------------------ sampling


class Sampler(Options):
    kind: Literal["ancestral", "ddim", "dpm++2m", "dpm++2m-sde", "heun"] = "dpm++2m"
    """The algorithm. `ancestral` is the paper's."""
    steps: int = Field(20, ge=1, le=10_000)
    """Steps; `heun` evaluates the network twice in each [1000]."""
    eta: float = Field(0.0, ge=0, le=1)
    """`ddim` only: 0 is deterministic, 1 is as noisy as ancestral sampling."""
    ema_width: float | None = Field(None, ge=0, le=0.28)
    """Which average of the weights: a width that `train.ema_widths` kept, or one between them. Default: the one of `train.ema`."""

    @model_validator(mode="after")
    def eta_is_ddims(self) -> Self:
        if self.eta and self.kind != "ddim":
            raise ValueError(f"`eta` goes with `kind: ddim`, not {self.kind}")
        return self

    @property
    def evaluations(self) -> int:
        """NFE: how often the network runs for one image."""
        return 2 * self.steps - 1 if self.kind == "heun" else self.steps


class Sample(Options):
    batch_size: int = Field(16, ge=1)
    """Images sampled at a time. Changes no image."""
    shard_size: int = Field(512, ge=1)
    """Test images per sampling job. Changes no result."""
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
    """A name from `models` or `folders`, or `input` or `originals`."""
    sampler: Name | tuple[Name, ...] | None = None
    """A name from `samplers`, for diffusion models."""
    seed: Annotated[int, Field(ge=0)] | tuple[Annotated[int, Field(ge=0)], ...] = 0
    """Seed of training and sampling."""
    steps: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], ...] | None = None
    """Optimizer steps after which the model is evaluated. Each longer training continues the next shorter one, whose rows are
    sampled and scored meanwhile. To train alone, run `snakemake models`. Default: the model's own `train.steps`."""


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
    extractors: tuple[ExtractorKind, ...] = Field(("photos",), min_length=1)
    """What measures the images. All but `photos`, `pixels` and `ms-ssim` need weights; the last three need `palette-diffusion[scores]`.
    `photos`: a classifier of the dataset's own classes, of two or more. `pixels`: no network, but PSNR, SSIM and chroma alone, which
    the first of the others measures too. `inception`: the network of 2015 through clean-fid, which gives FID;
    `inception-legacy-tensorflow` and `inception-legacy-pytorch` are clean-fid's other modes.
    `resnet50`, `efficientnet-b0`: classification accuracy on ImageNet. `dinov2`: FD-DINOv2 (Stein et al. 2023).
    `lpips`, `ms-ssim`: likeness to the original, and between several draws."""
    photos: Extractor = Extractor()
    """How the `photos` classifier is trained."""
    weights: Path | None = None
    """Folder of pretrained weights; the environment variable PALETTE_WEIGHTS names it too."""
    shard_size: int = Field(10_000, ge=1)
    """Test images per job that measures them, in whole sampling jobs. Changes no result."""
    download: bool = False
    """Download missing weights from their authors into that folder, when they are needed."""
    pd: Literal["euclidean", "squared"] = "euclidean"
    """The perceptual distance: Euclidean, or its square; the paper's wording says the one, its magnitudes the other."""
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
    published: dict[Name, PaperTable] = {}
    """For each task, the table of the paper whose numbers stand beside ours."""
    paper: PaperTable | None = None
    """Lay it out as this table of the paper: its rows, in its order, with the numbers of other methods quoted, its columns, and
    under each number ours and the difference. Takes the place of `columns` and `published`."""
    models: dict[Name, str] = {}
    """With `paper`: which row of the paper a model of ours repeats, as `published.csv` calls it (`palette, L1`).
    Default: the row of the model's own name."""

    @model_validator(mode="after")
    def layout_is_given_once(self) -> Self:
        options = type(self).model_fields
        given = [name for name in ("columns", "published") if getattr(self, name) != options[name].default]
        if self.paper is not None and given:
            raise ValueError(f"`paper` has its own columns and numbers; leave out {' and '.join(given)}")
        if self.paper is None and self.models:
            raise ValueError("`models` goes with `paper`")
        return self


class Report(Options):
    title: str = "Palette"
    """Heading of the pages."""
    inputs: int = Field(4, ge=1, le=32)
    """Test images in each task's figure."""
    gallery_images: int = Field(1_000, ge=0)
    """Test images of each experiment in the gallery, the first ones; 0 makes no gallery."""


# ------------------------------------------------------------------------------------------------- cluster


class Request(Options):
    """What jobs ask of a cluster. The profile's `set-resources` win over it, and it over the profile's `default-resources`."""

    partition: str | None = None
    """Slurm's partition."""
    account: str | None = None
    """The account that pays."""
    qos: str | None = None
    """Quality of service."""
    constraint: str | None = None
    """Features that a node must have: `h100`, `a100|h100`."""
    gpu_model: str | None = Field(None, pattern=r"^[A-Za-z0-9_.]+$")
    """Model of the GPUs, as the cluster calls it in `--gpus=h100:4` or `--gres=gpu:h100:4`."""
    memory_gb: float | None = Field(None, gt=0)
    """Memory of each node. Doubled at each further attempt. Default: 4 to 32 by verb; 16 per GPU for `train`."""
    hours: float | None = Field(None, gt=0)
    """Run time. A training that is not done by then goes on in the job's next run. Default: 1 to 24 by verb."""


class Cluster(Options):
    """How jobs ask a cluster for what they need: all of them, and those of one verb, which win."""

    gpus: Literal["gpus", "gres"] = "gpus"
    """Whether GPUs are asked for with `--gpus=4` or `--gres=gpu:4`; a training on several nodes does the latter in any case."""
    jobs: Request = Request()
    """What all jobs ask for."""
    fetch: Request = Request()
    """Jobs of `fetch`."""
    prepare: Request = Request()
    """Jobs of `prepare`."""
    mask: Request = Request()
    """Jobs of `mask`."""
    train: Request = Request()
    """Jobs of `train`."""
    sample: Request = Request()
    """Jobs of `sample`."""
    score: Request = Request()
    """Jobs of `score`, with the feature networks."""
    tabulate: Request = Request()
    """The job of `tabulate`."""
    report: Request = Request()
    """The job of `report`."""


class Hooks(Options):
    """Commands for the shell when a run of `snakemake` ends. Their environment has PALETTE_RESULTS, the results folder,
    PALETTE_PAGE, the report, and PALETTE_LOG, the run's log."""

    success: str | None = None
    """When everything is done."""
    error: str | None = None
    """When a job failed."""


class Budget(Options):
    gpu_hours: float | None = Field(None, ge=0)
    """GPU-hours that a run may take by estimate without asking. Default: any number."""
    gpu: GpuName | None = None
    """GPU that costs are told for: `h100`, `a100`, … as `palette plan --gpu` lists them. Default: this machine's."""


class Config(Options):
    """The whole workflow: what exists (datasets, tasks, models, samplers), what is run (experiments), what comes out (tables)."""

    results: Path = Path("results")
    """Folder of everything that is made."""
    datasets: dict[Name, Dataset] = Field(min_length=1)
    """Images, by name."""
    tasks: dict[Name, Task] = Field(min_length=1)
    """Degradations and how they are evaluated, by name."""
    folders: dict[Name, Outputs] = {}
    """Somebody's outputs, by name: rows that are scored as models are."""
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
    tables: dict[Name, Table] = {"scores": Table()}
    """The tables made from them, by name: `snakemake NAME` makes one of them, `snakemake tables` all."""
    report: Report = Report()
    """The pages made from it all."""
    registry: dict[Name, KnownDataset] = {}
    """Further published datasets, or other facts of known ones, by name."""
    cluster: Cluster = Cluster()
    """What jobs ask of a cluster. Changes no result."""
    hooks: Hooks = Hooks()
    """What is done when a run ends."""
    budget: Budget | None = None
    """What may be spent. Changes no result."""
