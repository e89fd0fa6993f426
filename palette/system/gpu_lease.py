"""GPU leases: two jobs on one machine never share a device, and a dead job never holds one.

A lease is a lock on a file per device, held by an inherited descriptor: the kernel frees it when the last process of
the job ends, even after `kill -9`. A job that must wait draws a ticket, which is a locked file too, so that nothing
waits for a dead job.
"""

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from palette.system.locks import held, open_lock, take
from palette.system.progress import say


def nvidia_smi(field: str) -> list[str]:
    """Return `field` of each device of this machine, or of this cluster job, as `nvidia-smi` lists them; none if it fails."""
    query = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return []
    return found.stdout.splitlines()


def _has_driver() -> bool:
    """Return whether torch could find a GPU: CUDA's library or AMD's device file exists."""
    with suppress(OSError):
        return bool(ctypes.CDLL("libcuda.so.1"))
    return Path("/dev/kfd").exists()


def _indices() -> list[str]:
    """Return the indices of the devices that torch finds in another process, because this one must see only its lease."""
    if not _has_driver():  # asking takes seconds
        return []
    query = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    count = subprocess.run(query, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [str(index) for index in range(int(count))]


def visible() -> list[str]:
    """Return the devices in CUDA_VISIBLE_DEVICES, or all: by UUID where possible, which means the same to every job."""
    uuids, given = nvidia_smi("uuid"), os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return uuids or _indices()
    names = [name.strip() for name in given.split(",") if name.strip() not in ("", "-1")]
    return [uuids[int(name)] if name.isdigit() and int(name) < len(uuids) else name for name in names]


def _try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock on `path`; None if another process holds it."""
    descriptor = open_lock(path)
    if take(descriptor, path) is False:
        os.close(descriptor)
        return None
    os.set_inheritable(descriptor, True)
    return descriptor


def _take(devices: list[str], count: int, folder: Path) -> dict[str, int]:
    """Return `count` free devices with the descriptors of their locks; an empty dict if fewer are free."""
    leased: dict[str, int] = {}
    for device in devices:
        if len(leased) < count and (descriptor := _try_lock(folder / f"device-{device}")) is not None:
            leased[device] = descriptor
    if len(leased) == count:
        return leased
    for descriptor in leased.values():
        os.close(descriptor)
    return {}


def _draw_ticket(devices: list[str], folder: Path) -> tuple[Path, int]:
    """Join the end of the queue. Return the ticket, which lists the devices that will do, and its lock's descriptor."""
    with held(folder / "queue"):
        last = max((int(file.name.partition("-")[2]) for file in folder.glob("ticket-*")), default=0)
        ticket = folder / f"ticket-{last + 1:08}"
        descriptor = open_lock(ticket)
        take(descriptor, ticket, wait=True)
        os.write(descriptor, "\n".join(devices).encode())
    return ticket, descriptor


def _is_next(ticket: Path, devices: list[str]) -> bool:
    """Return whether no earlier job still waits for any of the same devices. Deletes the tickets of dead jobs."""
    for earlier in sorted(file for file in ticket.parent.glob("ticket-*") if file.name < ticket.name):
        with suppress(FileNotFoundError), earlier.open("r+") as file:
            if take(file.fileno(), earlier) is not False:
                earlier.unlink()
            elif set(file.read().split("\n")) & set(devices):
                return False
    return True


def _wait_for(devices: list[str], count: int, folder: Path) -> dict[str, int]:
    """Return `count` of the devices with their locks, in the order of requests: small jobs never overtake large ones."""
    ticket, descriptor = _draw_ticket(devices, folder)
    message = f"waiting for {count} of the GPUs {', '.join(devices)}"
    try:
        while not (_is_next(ticket, devices) and (leased := _take(devices, count, folder))):
            if message:
                say(message)
                message = ""
            time.sleep(0.2)
        return leased
    finally:
        ticket.unlink(missing_ok=True)
        os.close(descriptor)


def _folder() -> Path:
    """Return the folder of this machine's locks. A scheduler's job has its own devices, and so its own locks."""
    parts = ["palette-gpus", str(os.getuid()), os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURMD_NODENAME")]
    folder = Path(tempfile.gettempdir()) / "-".join(filter(None, parts))
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def lease(count: int) -> Iterator[list[str]]:
    """Hold `count` GPUs and make only them visible; wait while others hold them. Yield none if there is no GPU.

    If there are fewer devices than requested, hold all of them: the trainer then takes more micro-batches.
    """
    if "LOCAL_RANK" in os.environ:  # torchrun's process, whose parent holds the lease
        yield []
        return
    devices = visible() if count else []
    leased = _wait_for(devices, min(count, len(devices)), _folder()) if devices else {}
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(leased)  # a job without a lease uses no device
    try:
        yield list(leased)
    finally:
        for descriptor in leased.values():
            with suppress(OSError):
                os.close(descriptor)
