"""`python -m benchmarks.training`: training step, EMA update and optimizer step, ours against the unofficial code's.

Both train the unofficial code's default network by ε-prediction on the same images and noise. The reference follows
that code's mathematics and implementation: an EMA loop that allocates new tensors, plain Adam, the loss read after
every step. Freed memory is kept, as in the engine (`palette.system.devices`); the reference benefits too.
"""

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.reference import guided_diffusion
from benchmarks.timing import Work, compare, parser, peak_memory, write
from palette.config.models import Network, Objective, Train
from palette.diffusion.objective import Batch, stratified
from palette.diffusion.schedule import training_gammas
from palette.model import ema
from palette.stages.train import TrainRuntime, TrainSpec
from palette.system import devices
from palette.training import trainer
from palette.training.distributed import World

DEFAULT = Network(
    channels=64, multipliers=(1, 2, 4, 8), blocks=2, attention=(), head_channels=32, dropout=0.2, groups=32
)
"""The unofficial code's default network, with attention only in the middle: 62,641,347 parameters."""
TINY = DEFAULT.model_copy(update={"channels": 32, "multipliers": (1, 2), "blocks": 1})
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """The network, the device and the batch size of a training."""

    network: Network
    image_size: int
    batch_size: int
    device: torch.device = CPU


def examples(case: Case) -> Batch:
    """Return training examples without a mask, on the CPU; images and noise are random."""
    random = torch.Generator().manual_seed(0)
    shape = (case.batch_size, 3, case.image_size, case.image_size)
    x0, condition, noise = (torch.randn(shape, generator=random) for _ in range(3))
    mask = torch.ones(case.batch_size, 1, *shape[2:], dtype=torch.bool)
    return Batch(x0.clamp(-1, 1), condition, mask, noise, stratified(case.batch_size, 0.5))


def on(device: torch.device, batch: Batch) -> Batch:
    """Return the batch on `device`."""
    return Batch(*(tensor.to(device) for tensor in batch))


# ----------------------------------------------------------------------------------------------- reference


def reference_network(case: Case) -> guided_diffusion.UNet:
    """Return the same network in the reference's form, with its own random weights."""
    options = case.network
    return guided_diffusion.UNet(
        inner_channel=options.channels,
        res_blocks=options.blocks,
        attn_res=(),
        dropout=options.dropout,
        channel_mults=options.multipliers,
        num_head_channels=options.head_channels,
    ).to(case.device)


def reference_average(averages: nn.Module, network: nn.Module, decay: float = 0.9999) -> None:
    """Update the averages with a new tensor for every parameter."""
    for average, parameter in zip(averages.parameters(), network.parameters(), strict=True):
        average.data = average.data * decay + (1 - decay) * parameter.data


def reference_loss(network: nn.Module, batch: Batch, gammas: Tensor) -> Tensor:
    """Return the mean squared error of ε; t is uniform, γ uniform between the γ of t and that of t-1."""
    t = torch.randint(1, len(gammas), (len(batch.x0),), device=gammas.device)
    gamma = (gammas[t] - gammas[t - 1]) * torch.rand(len(t), device=gammas.device) + gammas[t - 1]
    level = gamma[:, None, None, None]
    noisy = level.sqrt() * batch.x0 + (1 - level).sqrt() * batch.noise
    return F.mse_loss(batch.noise, network(torch.cat([batch.condition, noisy], dim=1), gamma))


def reference_step(case: Case) -> Work:
    """Move the batch to the device, zero the gradients, then forward, backward, Adam, EMA."""
    network, prepared = reference_network(case), examples(case)
    averages = copy.deepcopy(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-5)
    gammas = training_gammas().float().to(case.device)

    def step() -> None:
        optimizer.zero_grad()
        loss = reference_loss(network, on(case.device, prepared), gammas)
        loss.backward()
        optimizer.step()
        loss.item()
        reference_average(averages, network)

    return step


def reference_ema(case: Case) -> Work:
    network = reference_network(case)
    averages = copy.deepcopy(network)
    return lambda: reference_average(averages, network)


def reference_optimizer(case: Case) -> Work:
    network = reference_network(case)
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    return torch.optim.Adam(network.parameters(), lr=5e-5).step


# ---------------------------------------------------------------------------------------------------- ours


def our_trainer(case: Case, precision: str = "fp32", compiled: bool = False) -> trainer.Trainer:
    """Return the engine's trainer with default options."""
    options = Train.model_validate({"precision": precision}).model_dump(include=set(TrainSpec.model_fields))
    spec = TrainSpec(
        name="benchmark",
        mix={"colorization": 1.0},
        image_size=case.image_size,
        network=case.network,
        objective=Objective(kind="epsilon"),
        seed=0,
        start_sha256=None,
        runtime=TrainRuntime(compile=compiled),
        **{**options, "batch_size": case.batch_size},
    )
    return trainer.build(spec, World(0, 1, case.device))


def our_step(case: Case, precision: str = "fp32", compiled: bool = False) -> Work:
    """Do the same work, and clip the gradient norm."""
    ours, prepared = our_trainer(case, precision, compiled), repeat(examples(case))
    return lambda: ours.update(prepared)


def our_ema(case: Case) -> Work:
    ours = our_trainer(case)
    return lambda: ema.update(ours.averages, ours.parameters, 10**6, 0.9999)


def our_optimizer(case: Case) -> Work:
    ours = our_trainer(case)
    for parameter in ours.network.parameters():
        parameter.grad = torch.randn_like(parameter)
    return ours.optimizer.step


# -------------------------------------------------------------------------------------------------- report


def settings(case: Case) -> dict[str, object]:
    """Return the case as it is written to a result."""
    network = case.network.model_dump(mode="json")
    return {"image_size": case.image_size, "batch_size": case.batch_size, "network": network}


PARTS: dict[str, tuple[Callable[[Case], Work], Callable[[Case], Work]]] = {
    "training step": (reference_step, our_step),
    "EMA update": (reference_ema, our_ema),
    "optimizer step": (reference_optimizer, our_optimizer),
}


def main(arguments: list[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--image-size", type=int, default=64, help="side in pixels (default: %(default)s)")
    options.add_argument("--batch-size", type=int, default=4, help="images per step (default: %(default)s)")
    chosen = options.parse_args(arguments)
    devices.use(chosen.threads)
    case = Case(TINY, 16, 2) if chosen.quick else Case(DEFAULT, chosen.image_size, chosen.batch_size)
    found = {}
    for name, (reference, ours) in PARTS.items():
        comparison = compare(reference(case), ours(case), 2 if chosen.quick else chosen.repeats, case.device)
        if not chosen.quick:
            comparison.reference_mib, comparison.ours_mib = peak_memory(reference, case), peak_memory(ours, case)
        print(comparison.line(name), flush=True)
        found[name] = comparison.facts()
    write(chosen.results, f"training-{case.image_size}px", CPU, settings(case), found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
