"""One process or several: a single device, or torchrun's processes with one device each (DistributedDataParallel)."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

PATIENCE = timedelta(days=2)
"""How long processes wait for each other: rank 0 may wait for another trainer. If one dies, torchrun ends the rest."""


@dataclass(frozen=True)
class World:
    """This process among `size`; `device` is where it computes. Rank 0 writes files and messages."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """Mean over the processes of a tensor of any shape; `value` may be overwritten."""
        if self.size > 1:
            dist.all_reduce(value)
            value /= self.size
        return value

    def from_leader(self, value: Path | None) -> Path | None:
        """Rank 0's value, everywhere."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def parallel(self, network: nn.Module) -> nn.Module:
        """`network`, with gradients averaged over the processes."""
        return DistributedDataParallel(network, gradient_as_bucket_view=True) if self.size > 1 else network


def under_torchrun() -> bool:
    return "WORLD_SIZE" in os.environ and "RANK" in os.environ


def local_device() -> torch.device:
    """The GPU of this process where there are GPUs, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


@contextmanager
def world() -> Iterator[World]:
    """The processes that torchrun started, joined; or this one alone."""
    device = local_device()
    rank, size = (int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])) if under_torchrun() else (0, 1)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if size == 1:
        yield World(rank, size, device)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield World(rank, size, device)
    finally:
        dist.destroy_process_group()


def relaunch(gpus: int, spec: Path) -> None:
    """Become `torchrun` with one process a GPU, if several were asked for and are visible; return otherwise.

    Fewer than asked for will do: the number of devices changes no result beyond rounding.
    """
    devices = min(gpus, torch.cuda.device_count())
    if devices <= 1 or under_torchrun():
        return
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}"]
    sys.stderr.flush()
    os.execv(sys.executable, [*torchrun, "-m", "palette", "train", "-c", str(spec)])
