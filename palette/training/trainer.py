"""State of a training: network, averaged weights and optimizer, and one step of it."""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel

from palette.diffusion.objective import Batch, loss
from palette.errors import UserError
from palette.model import ema, networks
from palette.model.unet import UNet
from palette.training.checkpoint import States, load
from palette.training.distributed import World
from palette.training.stream import micro_batches, moved

if TYPE_CHECKING:
    from palette.stages.train import TrainSpec

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SMALLEST_SCALE = 1.0
"""Minimum of fp16's loss scale.
It starts at 65536 and is halved at each overflow; below 1, even unscaled gradients overflow."""
ADVICE = "Lower `learning_rate` or `clip`, lengthen `warmup`, or use `precision: fp32`."


def learning_rate(step: int, spec: "TrainSpec") -> float:
    """Return the learning rate of optimizer step `step` (0 is the first).
    It rises linearly over `warmup` steps to `spec.learning_rate`, then stays constant."""
    return spec.learning_rate * min(1.0, (step + 1) / max(spec.warmup, 1))


def seed_of(seed: int, *key: int | str) -> int:
    """Return a 63-bit seed for torch's generators, derived from `seed` and `key`."""
    return int.from_bytes(hashlib.sha256(json.dumps([seed, *key]).encode()).digest()[:8], "big") >> 1


@dataclass
class Trainer:
    """State of a training that changes from step to step."""

    spec: "TrainSpec"
    world: World
    network: UNet
    averages: list[Tensor]
    """EMA of `parameters`, in their order."""
    by_width: dict[float, list[Tensor]]
    """Power-function EMAs of `parameters`, by σ_rel; without 0, which stands for the parameters themselves."""
    optimizer: torch.optim.Adam
    scaler: GradScaler
    """Scales fp16's loss, so that small gradients do not vanish; does nothing otherwise."""
    step: int = 0
    """Optimizer steps done: the only counter."""
    earlier: int = 0
    """Steps behind the model that this training started from. The EMA's ramp continues from there."""
    seconds: float = 0.0
    """Time spent training, over all runs."""
    waited: float = 0.0
    """Seconds in this run in which a step waited for its data."""
    parameters: list[Tensor] = field(init=False)
    """The network's parameters, listed once: collecting them from its modules takes half a millisecond."""
    gammas: dict[float, float] = field(init=False)
    """Exponent γ for each width."""
    parallel: nn.Module = field(init=False)
    """The network, or DistributedDataParallel around it; compiled if configured."""
    broken: Tensor = field(init=False)
    """float64 [2]: first step whose gradient was not finite, or -1, and its loss.
    Stays on the device: reading it at every step would stall the GPU."""
    skipped: Tensor = field(init=False)
    """int64 []: steps that fp16's scaler skipped because its scale was too large. Stays on the device too."""

    def __post_init__(self) -> None:
        device = self.world.device
        self.network.recompute = self.spec.runtime.recompute
        self.parallel = self.world.parallel(self.network)
        if self.spec.runtime.compile:  # in place: the names of weights do not change
            self.parallel.compile(options={"fallback_random": True})  # the same dropout as without compilation
        self.broken = torch.tensor([-1.0, 0.0], dtype=torch.float64, device=device)
        self.skipped = torch.tensor(0, device=device)
        self.parameters = list(self.network.parameters())
        self.gammas = {width: ema.exponent(width) for width in self.by_width}

    def update(self, prepared: Iterator[Batch]) -> Tensor:
        """Do one optimizer step on the next micro-batches.
        Return the mean loss of this process's share, on the device."""
        total = torch.zeros((), device=self.world.device)
        count = micro_batches(self.spec, self.world.size)
        for index in range(count):
            batch = moved(self._next(prepared), self.world.device)
            # Seeded by the micro-batch's position in the batch, so that no two images share their dropout, and fewer
            # devices than planned draw the same.
            torch.manual_seed(seed_of(self.spec.seed, "dropout", self.step, self.world.rank * count + index))
            with self._syncing(last=index == count - 1):
                mean = self.losses(self.parallel, batch).mean() / count
                torch.autograd.backward(self.scaler.scale(mean))
            total += mean.detach()
        self._apply_gradients(total)
        return total

    def _next(self, prepared: Iterator[Batch]) -> Batch:
        began = time.monotonic()
        batch = next(prepared)
        self.waited += time.monotonic() - began
        return batch

    def losses(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of each image, [B], in the training's precision."""
        objective, precision = self.spec.objective, self.spec.precision
        with torch.autocast(self.world.device.type, DTYPES[precision], enabled=precision != "fp32"):
            return loss(objective.kind, objective.loss, network, batch, objective.weighting)

    def _apply_gradients(self, value: Tensor) -> None:
        """Update with Adam, then the averages.
        A gradient that is not finite is only recorded; the scaler then skips Adam's step."""
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.get_total_norm([weight.grad for weight in self.parameters if weight.grad is not None])
        self._note(norm, value)
        if norm.is_cuda or norm > self.spec.clip:  # comparing on a GPU would stall it
            nn.utils.clip_grads_with_norm_(self.parameters, self.spec.clip, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.spec)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        ema.update(self.averages, self.parameters, self.earlier + self.step, self.spec.ema)
        self.step += 1
        for width, averages in self.by_width.items():
            ema.update_power(averages, self.parameters, self.step, self.gammas[width])

    def _note(self, norm: Tensor, value: Tensor) -> None:
        finite = torch.isfinite(norm)
        if self.scaler.is_enabled():
            self.skipped += ~finite
        else:
            here = torch.stack([torch.full_like(self.broken[0], self.step + 1), value.double()])
            self.broken = torch.where((self.broken[0] < 0) & ~finite, here, self.broken)

    def _syncing(self, last: bool) -> AbstractContextManager[None]:
        """Return a context in which devices exchange gradients only in the last micro-batch."""
        if isinstance(self.parallel, DistributedDataParallel) and not last:
            return self.parallel.no_sync()
        return nullcontext()

    def require_finite(self) -> None:
        """Raise UserError if any step since the last saved state had a gradient that is not finite.
        With fp16 such a step is skipped, and does no harm until the loss scale has collapsed."""
        step, value = self.broken.tolist()
        if step >= 0:
            raise UserError(
                f"train: at step {step:.0f} the gradient was not finite (loss {value:g}), so the weights are lost; the last "
                f"saved state is kept. {ADVICE}"
            )
        if self.scaler.is_enabled() and (scale := self.scaler.get_scale()) < SMALLEST_SCALE:
            raise UserError(
                f"train: by step {self.step} fp16's loss scale has fallen to {scale:g}; {self.skipped.item()} steps were "
                f"skipped because gradients still overflow at the smallest loss scale. The last saved state is kept. {ADVICE}"
            )

    def save(self, states: States) -> None:
        """Save the state, unless it is broken. Rank 0 writes; all processes have the same state."""
        self.require_finite()
        if self.world.leads:
            states.save(
                {
                    "step": self.step,
                    "earlier": self.earlier,
                    "seconds": self.seconds,
                    "skipped": int(self.skipped.item()),
                    "network": self.network.state_dict(),
                    "averages": self.averages,
                    "by_width": self.by_width,
                    "optimizer": self.optimizer.state_dict(),
                    "scaler": self.scaler.state_dict(),
                }
            )

    def resume(self, path: Path) -> None:
        """Resume from a saved state, of the same kind of device or of another."""
        state = load(path)
        self.network.load_state_dict(state["network"])
        copy(self.averages, state["averages"])
        for width, averages in self.by_width.items():
            copy(averages, state["by_width"][width])
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, moments in self.optimizer.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                moments[name] = like(parameter, moments[name])  # a CPU's state is not channels_last
        self.scaler.load_state_dict(state["scaler"])
        self.skipped.fill_(state["skipped"])
        self.step, self.earlier, self.seconds = state["step"], state["earlier"], state["seconds"]

    @property
    def names(self) -> list[str]:
        """Names of the parameters, in their order."""
        return [name for name, _ in self.network.named_parameters()]

    @contextmanager
    def averaged_network(self) -> Iterator[nn.Module]:
        """Yield the network with its averaged weights, for evaluation. Training is not affected; nothing is copied."""
        # Not compiled: these weights and each batch size would trigger a recompilation.
        eager = torch.compiler.set_stance("force_eager") if self.spec.runtime.compile else nullcontext()
        self.network.eval()
        try:
            with torch.no_grad(), eager:
                yield ema.Averaged(self.network, dict(zip(self.names, self.averages, strict=True)))
        finally:
            self.network.train()

    def averaged_weights(self) -> dict[str, Tensor]:
        """Return name → EMA weight, on the CPU."""
        return dict(zip(self.names, map(to_cpu, self.averages), strict=True))

    def averages_by_width(self) -> dict[str, Tensor]:
        """Return `<width>/<name>` → weight, on the CPU, for each of `spec.ema_widths`.
        `0.0/` holds the weights themselves."""
        every: dict[float, list[Tensor]] = {0.0: [*self.parameters], **self.by_width}
        return {
            f"{width!r}/{name}": to_cpu(weight)
            for width in self.spec.ema_widths
            for name, weight in zip(self.names, every[width], strict=True)
        }


def to_cpu(tensor: Tensor) -> Tensor:
    """Return the values as a contiguous tensor on the CPU."""
    return tensor.detach().cpu().contiguous()


def like(parameter: Tensor, value: Tensor) -> Tensor:
    """Copy the value into the parameter's dtype, device and memory format, which fused Adam requires to match."""
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def copy(tensors: list[Tensor], values: list[Tensor]) -> None:
    """Set `tensors` to `values`, pairwise of equal shapes."""
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


def build(spec: "TrainSpec", world: World) -> Trainer:
    """Build a trainer at step 0. Weights are drawn on the CPU, so that they are the same on every device."""
    torch.manual_seed(seed_of(spec.seed, "weights"))
    network = networks.build(spec.network, spec.image_size).to(world.device)
    if world.device.type == "cuda":
        network = network.to(memory_format=torch.channels_last)
    averages = [parameter.detach().clone() for parameter in network.parameters()]
    by_width = {width: [average.clone() for average in averages] for width in spec.ema_widths if width > 0}
    optimizer = torch.optim.Adam(network.parameters(), lr=spec.learning_rate, fused=True)
    scaler = GradScaler(world.device.type, enabled=spec.precision == "fp16")
    return Trainer(spec, world, network, averages, by_width, optimizer, scaler)
