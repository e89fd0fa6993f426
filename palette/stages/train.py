"""Training: a prepared dataset → `model.safetensors` (EMA weights), `averages.safetensors` (those of `ema_widths`),
`model.json`, `log.jsonl`.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from palette.config.models import Network, Objective
from palette.config.tasks import Degradation
from palette.stages.base import Planned, Runtime, Spec, Usual, Work
from palette.stages.stage import Stage


class TrainRuntime(Runtime):
    """Options of `train` that change no result beyond rounding, and the path of the weights to start from."""

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
    """Folder of the next shorter training with the same state, which this one continues."""

    @property
    def devices(self) -> int:
        """Number of processes that share a step, as planned. Fewer do the same in more micro-batches."""
        return max(self.gpus, 1) * self.nodes


class TrainSpec(Spec):
    """Training: prepare → `model.safetensors`, `averages.safetensors`, `model.json`, `log.jsonl`.

    The averages are those of `ema_widths`. With several datasets, the parents are `prepare-NAME`.
    """

    kind = "train"
    verb = "train"
    reads = ("prepare",)
    files = ("model.safetensors", "averages.safetensors", "model.json", "log.jsonl")
    usual = Usual(memory_gb=16, hours=24)
    options: ClassVar[Mapping[str, str]] = {
        "": "models.{model}.train",
        "network": "models.{model}.network",
        "objective": "models.{model}.objective",
        "mix": "models.{model}.mix",
        "image_size": "datasets.{dataset}.prepare.image_size",
        "seed": "seed",
        "start_sha256": "the file of models.{model}.train.start_from",
    }
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
    """SHA-256 of the model that the training starts from; None: random weights."""

    @cached_property
    def state_key(self) -> str:
        """Key of the training state: the hash without the number of steps, so that a longer training continues it."""
        return self._digest({"name", "runtime", "steps"})

    def work(self, planned: Planned, shard: str | None = None) -> Work:
        from palette.model.flops import parameters, training_flops

        runtime, averages = self.runtime, len(self.ema_widths)
        flops = self.steps * self.batch_size * training_flops(self.network, self.image_size, runtime.recompute)
        states = runtime.checkpoints_kept + 1 + len(runtime.milestones)
        # The outputs, and in each state the weights, their average and Adam's two moments.
        tensors = 1 + averages + states * (4 + averages)
        network = repr((self.network, self.image_size, self.precision, runtime.recompute, runtime.compile))
        size = 4 * tensors * parameters(self.network, self.image_size)
        return Work(flops, self.precision, network, bytes=size)

    def evaluation(self, planned: Planned, megapixels: float) -> Work:
        from palette.model.flops import flops

        network = repr((self.network, self.image_size, self.precision))
        return Work(flops(self.network, self.image_size), self.precision, network)


def run(stage: Stage[TrainSpec]) -> None:
    """Train the model of `stage`, or resume its training; with several GPUs, under torchrun."""
    from palette.training import job

    job.run(stage)
