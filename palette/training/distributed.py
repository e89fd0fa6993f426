"""One process or several: a single device, or torchrun's processes with one device each (DistributedDataParallel).

`palette train` starts the processes of its machine itself. On several machines `srun` starts it once on each, or torchrun is
started by hand, with `-m palette train -c spec.yaml` as its program; the results folder must be one that all of them see.
"""

import os
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from palette.errors import Interrupted, UserError

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

    def sum(self, value: Tensor) -> Tensor:
        """Sum over the processes of a tensor of any shape; `value` may be overwritten."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def mean(self, value: Tensor) -> Tensor:
        """Mean over the processes of a tensor of any shape; `value` may be overwritten."""
        return self.sum(value) / self.size

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


@dataclass(frozen=True)
class Nodes:
    """The machines that `srun` started this command on, once each; `rank` is this one, `endpoint` where they meet."""

    count: int = 1
    rank: int = 0
    endpoint: str = "localhost:0"


def nodes() -> Nodes:
    """Those of this step of a Slurm job; elsewhere, this machine alone.

    They meet where `srun` was called, which is the first node of a batch job; MASTER_ADDR names another place.
    """
    env = os.environ
    count = int(env.get("SLURM_STEP_NUM_NODES", "1"))
    if count == 1 or env.get("SLURM_STEP_NUM_TASKS") != str(count):
        return Nodes()
    address = env.get("MASTER_ADDR") or env["SLURM_LAUNCH_NODE_IPADDR"]
    return Nodes(count, int(env["SLURM_NODEID"]), f"{address}:{20_000 + int(env['SLURM_JOB_ID']) % 10_000}")


def relaunch(gpus: int, spec: Path) -> bool:
    """Train in one process a GPU, if several were asked for and are visible: True when they are done; else False at once.

    Fewer than asked for will do: the number of devices changes no result beyond rounding. Raises UserError or Interrupted.
    """
    if under_torchrun():
        return False
    devices, place = max(1, min(gpus, torch.cuda.device_count())), nodes()
    if devices * place.count == 1:
        return False
    launch(devices, ["-m", "palette", "train", "-c", str(spec)], place)
    return True


def pass_on(number: int, frame: FrameType | None) -> None:
    """Hand SIGTERM to the processes, which save and go on; torch would end them."""
    this = os.getpid()
    try:
        children = Path(f"/proc/{this}/task/{this}/children").read_text().split()
    except OSError:  # no such file on macOS, where no cluster sends it either
        return
    for child in children:
        os.kill(int(child), number)


def launch(processes: int, arguments: list[str], place: Nodes = Nodes()) -> None:
    """Run `python arguments` in several processes on this machine, as torchrun does, beside those of the other nodes.

    By the library, not the command, which ends with 1 whatever went wrong: an error keeps the exit code of the process that
    failed first, and Ctrl-C, which is handed on to the processes, gives that of an interrupted training.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    sys.stderr.flush()
    alone = place.count == 1
    handled: dict[str, Any] = {"signals_to_handle": "SIGINT,SIGHUP,SIGQUIT"}
    config = LaunchConfig(
        min_nodes=place.count,
        max_nodes=place.count,
        nproc_per_node=processes,
        rdzv_backend="c10d" if alone else "static",
        rdzv_endpoint=place.endpoint,
        rdzv_configs={} if alone else {"rank": place.rank},
        run_id=str(uuid.uuid4()) if alone else os.environ["SLURM_JOB_ID"],
        max_restarts=0,
        **{name: value for name, value in handled.items() if name in {f.name for f in fields(LaunchConfig)}},
    )
    signal.signal(signal.SIGTERM, pass_on)
    try:
        elastic_launch(config, sys.executable)(*arguments)
    except SignalException as stopped:
        name = stopped.sigval.name
        raise Interrupted(f"stopped by {name}. Run the same again: it goes on from the last saved state.") from None
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        error = UserError(
            f"process {rank} of {processes} ended with code {failure.exitcode}; its message stands above."
        )
        error.exit_code = failure.exitcode if failure.exitcode > 0 else UserError.exit_code
        raise error from None
