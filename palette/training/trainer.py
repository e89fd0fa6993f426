"""One training at work: network, averaged weights and optimizer, from step to step."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from palette.diffusion.objective import IMAGE_CHANNELS, INPUT_CHANNELS, Batch, loss
from palette.errors import UserError
from palette.model import ema
from palette.model.unet import UNet
from palette.spec import TrainSpec
from palette.training.checkpoint import States, load
from palette.training.distributed import World
from palette.training.stream import moved


def learning_rate(step: int, spec: TrainSpec) -> float:
    """Of optimizer step `step` (0 is the first): rises linearly over `warmup` steps to `spec.learning_rate`, then stays."""
    return spec.learning_rate * min(1.0, (step + 1) / max(spec.warmup, 1))


def seed_of(seed: int, *key: int | str) -> int:
    """A seed for torch's generators, 63 bits, for what `key` names."""
    return int.from_bytes(hashlib.sha256(json.dumps([seed, *key]).encode()).digest()[:8], "big") >> 1


@dataclass
class Trainer:
    """What changes from step to step."""

    spec: TrainSpec
    world: World
    network: UNet
    averages: list[Tensor]
    """EMA of the network's parameters, in their order."""
    optimizer: torch.optim.Adam
    step: int = 0
    """Optimizer steps done: the one counter."""
    seconds: float = 0.0
    """Spent training, all runs together."""
    parallel: nn.Module = field(init=False)
    """The network, or DistributedDataParallel around it."""
    broken: Tensor = field(init=False)
    """First step whose gradient was not finite, or -1. Stays on the device: reading it at every step would stop the GPU."""

    def __post_init__(self) -> None:
        self.parallel = self.world.parallel(self.network)
        self.broken = torch.tensor(-1, device=self.world.device)

    # -- one step

    def update(self, prepared: Iterator[Batch]) -> Tensor:
        """One optimizer step on the next micro-batches; returns the mean loss of this process's share, on the device."""
        total = torch.zeros((), device=self.world.device)
        for index in range(self.spec.accumulate):
            batch = moved(next(prepared), self.world.device)
            with self._syncing(last=index == self.spec.accumulate - 1):
                mean = self._loss(batch, index) / self.spec.accumulate
                torch.autograd.backward(mean)
            total += mean.detach()
        self._apply_gradients()
        return total

    def _apply_gradients(self) -> None:
        """Adam, then the averages. A gradient that is not finite is only noted."""
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.spec.clip)
        unbroken = (self.broken < 0) & ~torch.isfinite(norm)
        self.broken = torch.where(unbroken, self.step + 1, self.broken)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.spec)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        ema.update(self.averages, self.network.parameters(), self.step, self.spec.ema)
        self.step += 1

    def _syncing(self, last: bool) -> AbstractContextManager[None]:
        """Devices exchange gradients only in the last micro-batch."""
        if isinstance(self.parallel, DistributedDataParallel) and not last:
            return self.parallel.no_sync()
        return nullcontext()

    def _loss(self, batch: Batch, micro: int) -> Tensor:
        torch.manual_seed(seed_of(self.spec.seed, "dropout", self.step, self.world.rank, micro))
        objective, device = self.spec.objective, self.world.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.spec.precision == "bf16"):
            return loss(objective.kind, objective.loss, self.parallel, batch).mean()

    # -- states

    def require_finite(self) -> None:
        """Raise UserError if any step since the last saved state had a gradient that is not finite."""
        step = int(self.broken.item())
        if step >= 0:
            raise UserError(
                f"train: at step {step} the gradient was not finite, so the weights are lost; the last saved state is kept. "
                "Lower `learning_rate` or `clip`, lengthen `warmup`, or use `precision: fp32`."
            )

    def save(self, states: States) -> None:
        """Save the state, unless it is broken. Rank 0 writes; the states of all are alike."""
        self.require_finite()
        if self.world.leads:
            states.save(
                {
                    "step": self.step,
                    "seconds": self.seconds,
                    "network": self.network.state_dict(),
                    "averages": self.averages,
                    "optimizer": self.optimizer.state_dict(),
                }
            )

    def resume(self, path: Path) -> None:
        """Go on from a saved state."""
        state = load(path, self.world.device)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for average, saved in zip(self.averages, state["averages"], strict=True):
            average.copy_(saved)
        self.step, self.seconds = state["step"], state["seconds"]

    def averaged_weights(self) -> dict[str, Tensor]:
        """Name → EMA weight, on the CPU."""
        names = [name for name, _ in self.network.named_parameters()]
        return {name: average.detach().cpu().contiguous() for name, average in zip(names, self.averages, strict=True)}


def build(spec: TrainSpec, world: World) -> Trainer:
    """A trainer at step 0. Weights are drawn on the CPU, so that they are the same on every device."""
    torch.manual_seed(seed_of(spec.seed, "weights"))
    network = UNet(spec.network, INPUT_CHANNELS, IMAGE_CHANNELS, spec.image_size).to(world.device)
    if world.device.type == "cuda":
        network = network.to(memory_format=torch.channels_last)
    averages = [parameter.detach().clone() for parameter in network.parameters()]
    optimizer = torch.optim.Adam(network.parameters(), lr=spec.learning_rate, fused=True)
    return Trainer(spec, world, network, averages, optimizer)
