"""Train a model, or go on where an interrupted training stopped.

Example: python -m palette train -c config.yaml --experiment photos-colorization-palette-sde20-s0
"""

from functools import cached_property

from pydantic import Field

from palette.config.models import Execution, Network, Objective, Recipe
from palette.config.tasks import Degradation
from palette.stages.base import Planned, Runtime, Spec, Usual, Work
from palette.stages.stage import Stage


class TrainRuntime(Execution, Runtime):
    """Options of `train` that the hash does not cover, and the order of trainings."""

    after: str | None = None
    """Folder of the next shorter training with the same state, which this one continues."""


class TrainSpec(Recipe, Spec):
    """Training: prepare, or `prepare-NAME` of several datasets → EMA weights, those of `ema_widths`, facts and log."""

    kind = "train"
    verb = "train"
    reads = ("prepare",)
    files = ("model.safetensors", "averages.safetensors", "model.json", "log.jsonl")
    usual = Usual(memory_gb=16, hours=24)
    options = {
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
    start_sha256: str | None
    """SHA-256 of the model that the training starts from; None: random weights."""

    @property
    def awaited(self) -> list[str]:
        return [*super().awaited, *filter(None, [self.runtime.after])]

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
