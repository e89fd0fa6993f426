"""Samplers, and the rows that they make: dataset × task × model × sampler × seed."""

from typing import Annotated, Self, TypeVar

from pydantic import Field, model_validator

from palette.config.choices import OneOf, rows
from palette.config.options import Count, Name, Options, Seed, Threads

BASELINES = ("input", "originals")
"""Rows that need no training: the degraded input itself, and the untouched test images."""
SAMPLERS = rows("diffusion/samplers.py", "SAMPLERS")
TWICE = rows("diffusion/samplers.py", "TWICE")
"""Those that evaluate the network twice in each step but the last."""


class Sampler(Options):
    kind: Annotated[str, OneOf(SAMPLERS)] = "dpm++2m"
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
        """Number of evaluations of the network for one image (NFE)."""
        return 2 * self.steps - 1 if self.kind in TWICE else self.steps


class Sample(Options):
    batch_size: Count = 16
    """Images sampled at a time. Changes no image."""
    shard_size: Count = 512
    """Test images per sampling job. Changes no result."""
    draws: int = Field(4, ge=1, le=16)
    """Samples of the same input, for the figures."""
    draw_inputs: Count = 8
    """Number of inputs that get several draws: the first ones of the test set."""
    threads: Threads = 1
    """CPU cores per sampling or scoring job."""


T = TypeVar("T")
Several = Annotated[tuple[T, ...], Field(min_length=1)]
"""A list, one row per element; an empty one would silently make no rows."""


class Experiment(Options):
    """One row; a list in any field stands for one row per element."""

    dataset: Name | Several[Name]
    """A name from `datasets`."""
    task: Name | Several[Name] | None = None
    """A name from `tasks`. `originals` needs none."""
    model: Name | Several[Name]
    """A name from `models` or `external_outputs`, or `input` or `originals`."""
    sampler: Name | Several[Name] | None = None
    """A name from `samplers`, for diffusion models."""
    seed: Seed | Several[Seed] = 0
    """Seed of training and sampling."""
    steps: Count | Several[Count] | None = None
    """Optimizer steps after which the model is evaluated. Each longer training continues the next shorter one, whose rows are
    sampled and scored meanwhile. To train alone, run `snakemake models`. Default: the model's own `train.steps`."""
