"""One process or several: a single device, or torchrun's processes with one device each (DistributedDataParallel).

`palette train` itself starts the processes of its machine. On several machines `srun` starts it once on each, or
torchrun is started by hand, with `-m palette train -c spec.yaml` as its program; all of them must see the same results
folder.
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
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from palette.errors import Interrupted, UserError
from palette.system import devices
from palette.system.progress import say
from palette.training.signals import SAVE, not_ignored

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.api import LogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

PATIENCE = timedelta(days=2)
"""Timeout for processes that wait for each other: rank 0 may wait for another trainer.
If one dies, torchrun ends the rest."""
LOOPBACK = "127.0.0.1"
STOP = (signal.SIGINT, signal.SIGQUIT, signal.SIGXCPU)
"""Signals that end the processes and then this one, which would otherwise die alone and leave them running."""


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
        """Sum a tensor of any shape over the processes; `value` may be overwritten."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def mean(self, value: Tensor) -> Tensor:
        """Average a tensor of any shape over the processes; `value` may be overwritten."""
        return self.sum(value) / self.size

    def from_leader(self, value: Path | None) -> Path | None:
        """Return rank 0's value on every process."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def parallel(self, network: nn.Module) -> nn.Module:
        """Wrap `network` so that gradients are averaged over the processes."""
        return DistributedDataParallel(network, gradient_as_bucket_view=True) if self.size > 1 else network


def under_torchrun() -> bool:
    return "WORLD_SIZE" in os.environ and "RANK" in os.environ


@contextmanager
def world() -> Iterator[World]:
    """Yield this process's `World`, joined with the processes that torchrun started, if any."""
    device = devices.local_device()
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
    """The machines on which `srun` started this command, once each.
    rank: of this machine. endpoint: where they meet."""

    count: int = 1
    rank: int = 0
    endpoint: str = f"{LOOPBACK}:0"


def nodes() -> Nodes:
    """Return the machines of this step of a Slurm job; elsewhere, this machine alone.
    The rendezvous is where `srun` was called, which is the first node of a batch job; MASTER_ADDR overrides it."""
    env = os.environ
    count = int(env.get("SLURM_STEP_NUM_NODES", "1"))
    if count == 1 or env.get("SLURM_STEP_NUM_TASKS") != str(count):
        return Nodes()
    address = env.get("MASTER_ADDR") or env["SLURM_LAUNCH_NODE_IPADDR"]
    return Nodes(count, int(env["SLURM_NODEID"]), f"{address}:{20_000 + int(env['SLURM_JOB_ID']) % 10_000}")


def relaunch(gpus: int, spec: Path) -> bool:
    """Train in one process per GPU if several are requested and visible.

    Return True when they are done, else False at once. Fewer than requested are enough: the number of devices changes
    results only by rounding. Raises UserError or Interrupted.
    """
    if under_torchrun():
        return False
    devices, place = max(1, min(gpus, torch.cuda.device_count())), nodes()
    if devices * place.count == 1:
        return False
    launch(devices, ["-m", "palette", "train", "-c", str(spec)], place)
    return True


def pass_on(number: int, frame: FrameType | None) -> None:
    """Forward a signal to the child processes, which save and continue; torch would end them.
    Without children, die from it."""
    this = os.getpid()
    try:
        children = Path(f"/proc/{this}/task/{this}/children").read_text().split()
    except OSError:  # not on macOS, where no cluster sends signals
        return
    if not children:
        signal.signal(number, signal.SIG_DFL)
        os.kill(this, number)
    for child in children:
        os.kill(int(child), number)


def _logs() -> "LogsSpecs":
    """Return torch's default logs.

    torch requests them when it starts the processes; then signals are forwarded to these.

    Until then a signal ends this process like any other: torch may be waiting for other nodes, and runs no handler
    meanwhile.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, LogsDest

    class AtStart(DefaultLogsSpecs):
        def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
            for number in not_ignored(SAVE):
                signal.signal(number, pass_on)
            return super().reify(envs)

    return AtStart()


def _config(processes: int, place: Nodes) -> "LaunchConfig":
    """Return torch's launch configuration for `processes` on this machine.
    A single machine needs no name that others could resolve."""
    from torch.distributed.launcher.api import LaunchConfig

    alone = place.count == 1
    handled: dict[str, Any] = {"signals_to_handle": ",".join(number.name for number in not_ignored(STOP))}
    return LaunchConfig(
        min_nodes=place.count,
        max_nodes=place.count,
        nproc_per_node=processes,
        logs_specs=_logs(),
        local_addr=LOOPBACK if alone else None,
        rdzv_backend="c10d" if alone else "static",
        rdzv_endpoint=place.endpoint,
        rdzv_configs={} if alone else {"rank": place.rank},
        run_id=str(uuid.uuid4()) if alone else os.environ["SLURM_JOB_ID"],
        max_restarts=0,
        **{name: value for name, value in handled.items() if name in {f.name for f in fields(LaunchConfig)}},
    )


def launch(processes: int, arguments: list[str], place: Nodes = Nodes()) -> None:
    """Run `python arguments` in several processes on this machine, as torchrun does, beside those of the other nodes.

    Calls the library rather than the command, which always exits with 1: an error keeps the exit code of the process
    that failed first, and Ctrl-C, which is forwarded to the processes, gives that of an interrupted training.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    sys.stderr.flush()
    if place.count > 1:
        say(f"node {place.rank} of {place.count}: waiting for the others at {place.endpoint}")
    try:
        elastic_launch(_config(processes, place), sys.executable)(*arguments)
    except SignalException as stopped:
        raise Interrupted(
            f"stopped by {stopped.sigval.name}. Run the same command again: it resumes from the newest saved state, or from "
            "step 0 if there is none."
        ) from None
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        code = failure.exitcode
        how = f"ended with code {code}; see its error message above" if code > 0 else f"was ended by signal {-code}"
        error = UserError(f"process {rank} of {processes} {how}.")
        error.exit_code = code if code > 0 else UserError.exit_code
        raise error from None
    except dist.DistError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"the nodes did not meet at {place.endpoint} ({reason}). Each of them must be able to reach that address; "
            "MASTER_ADDR names another one."
        ) from None
