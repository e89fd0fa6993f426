"""Networks, objectives and trainings."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from palette.config.choices import OneOf, files, rows
from palette.config.options import MOST, Count, Folder, Name, Options, Threads, Weight, _absolute
from palette.config.tasks import Degradation


class Network(Options):
    """The network. Defaults make a small one; the paper's values are in brackets."""

    backbone: Annotated[str, OneOf(files("model/networks"))] = "adm"
    """`adm`: the U-Net of Dhariwal & Nichol 2021, as the paper uses it. `sr3`: that of Saharia et al. 2021."""
    channels: int = Field(64, ge=8, le=8192)
    """Channels at full resolution [256]. A multiple of 8."""
    multipliers: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field((1, 2, 4, 8), min_length=1)
    """Channel multiplier of each resolution level, finest first [1, 1, 2, 2, 4, 4]."""
    blocks: int = Field(2, ge=1, le=64)
    """Residual blocks per level [2]."""
    attention: tuple[Count, ...] = (32, 16, 8)
    """Resolutions of the feature map, in pixels, that get self-attention [32, 16, 8]."""
    head_channels: Count = 64
    """Channels per attention head [64]. `sr3` has one head."""
    context: Literal["global-attention", "local-attention", "dilated", "more-blocks"] = "global-attention"
    """How distant pixels come together at the resolutions of `attention`: the four rows of Table 5 [global-attention]."""
    noise_embedding: Literal["log-snr", "gamma", "timestep"] = "log-snr"
    """How the noise level is told. `gamma` and `timestep` are for imported weights: the unofficial code's and ADM's."""
    groups: Count | None = None
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
    kind: Annotated[str, OneOf(rows("diffusion/objective.py", "OBJECTIVES"))] = "edm"
    """Prediction target of the network. `epsilon` is the paper's; `edm` (Karras et al. 2022) learns color far sooner, with the degraded
    image as its starting point; `edm-plain` has none, for pairs that look unlike; `regression` is the paper's baseline."""
    loss: Annotated[str, OneOf(rows("diffusion/objective.py", "LOSSES"))] = "l2"
    """Norm of the error. The paper's tables use `l2`; `l1` is Table 6."""
    weighting: Annotated[str, OneOf(rows("diffusion/objective.py", "WEIGHTINGS"))] = "none"
    """Weight of each noise level: as the objective has it, or min(SNR, 5) in terms of x0 (Hang et al. 2023)."""

    @model_validator(mode="after")
    def weighting_has_a_meaning(self) -> Self:
        if self.weighting == "min-snr" and (self.kind == "regression" or self.loss != "l2"):
            raise ValueError("`weighting: min-snr` goes with `loss: l2` and an objective with noise levels")
        return self


class Recipe(Options):
    """Options of a training that change its result: fields of `TrainSpec` too, which its hash covers."""

    steps: Count = 10_000
    """Optimizer steps [1,000,000]. Raising it continues a finished training."""
    batch_size: Count = 16
    """Images per optimizer step over all devices together [1024]."""
    accumulate: Count = 1
    """Micro-batches per optimizer step and device; saves memory, changes nothing else."""
    learning_rate: float = Field(1e-4, gt=0, le=10)
    """Adam's, constant after the warm-up [1e-4]."""
    warmup: int = Field(1_000, ge=0, le=MOST)
    """Steps over which the learning rate rises linearly from 0 [10,000]."""
    ema: float = Field(0.9999, ge=0, lt=1)
    """Decay of the averaged weights that are used for sampling [0.9999]; ramped up at the start, so that early noise is forgotten."""
    ema_widths: tuple[Annotated[float, Field(ge=0, le=0.28)], ...] = ()
    """Further averages to choose from after training, by their width as a share of the training (Karras et al. 2024,
    power-function EMA); 0.05 and 0.1 are good values, 0 keeps the weights themselves."""
    clip: Weight = 1.0
    """Largest norm of the gradient [not stated]."""
    flip: bool = True
    """Mirror half of the training images [not stated]."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the network. `bf16` needs hardware with bfloat16 instructions, `fp16` a GPU."""
    validation_images: int = Field(0, ge=0, le=MOST)
    """Training images that are held out to measure the loss of the averaged weights on, drawn at random."""


class Execution(Options):
    """Options of a training that change no result beyond rounding, and where it starts: fields of `TrainRuntime` too."""

    start_from: Folder | None = None
    """A model to start from, `model.safetensors` of a training or of `palette import`. Default: random weights."""
    checkpoint_every: Count = 1_000
    """Steps between saved training states."""
    checkpoint_minutes: Weight = 30.0
    """Minutes after which a state is saved in any case."""
    checkpoints_kept: Count = 2
    """Newest states that stay."""
    milestones: tuple[Count, ...] = ()
    """Steps whose states stay for good."""
    validate_every: Count = 1_000
    """Steps between validations, if there are `validation_images`."""
    preview_every: int = Field(0, ge=0, le=MOST)
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
    gpus: int = Field(1, ge=0, le=64)
    """GPUs of each node asked of Snakemake for this training. More than one runs under torchrun."""
    nodes: int = Field(1, ge=1, le=1024)
    """Nodes asked of Slurm for this training; elsewhere one machine does the work of all of them."""
    threads: Threads = 1
    """CPU cores of each node asked of Snakemake for this training."""

    @property
    def devices(self) -> int:
        """Number of processes that share a step, as planned; fewer do the same in more micro-batches."""
        return max(self.gpus, 1) * self.nodes


class Train(Execution, Recipe):
    pass


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
    """Prediction target and loss."""
    train: Train = Train()
    """How it is trained."""
    mix: dict[Degradation, Weight] | None = Field(None, min_length=1)
    """One generalist for several tasks (Table 7) with their proportions. Default: a specialist for each task."""
    train_on: Name | Annotated[dict[Name, Weight], Field(min_length=1)] | None = None
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
    match_by: Literal["originals", "numbers"] | None = None
    """Their names: those of the originals, or numbers of test images. Default: whichever fits; required where both do."""
