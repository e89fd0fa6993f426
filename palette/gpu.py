"""Leases of GPUs: two jobs on one machine never share a device, and a dead job never holds one.

A lease is a lock on a file per device, held by an inherited descriptor: the kernel frees it when the last process of the job
ends, also after `kill -9`.
"""

import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from palette.stage import say


def _uuids() -> list[str]:
    """The UUIDs of the devices that `nvidia-smi` lists, by index; inside a cluster's job, those of the job."""
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return []


def visible() -> list[str]:
    """The devices this process may use: those of CUDA_VISIBLE_DEVICES, or all. By UUID, which means the same to every job."""
    uuids, given = _uuids(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return uuids
    names = [name.strip() for name in given.split(",") if name.strip() not in ("", "-1")]
    return [uuids[int(name)] if name.isdigit() and int(name) < len(uuids) else name for name in names]


def _try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock on `path`, or None if another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    os.set_inheritable(descriptor, True)
    return descriptor


def _take(devices: list[str], count: int, folder: Path) -> dict[str, int]:
    """`count` free devices with the descriptors of their locks; an empty dict if fewer are free."""
    held: dict[str, int] = {}
    for device in devices:
        if len(held) < count and (descriptor := _try_lock(folder / f"device-{device}")) is not None:
            held[device] = descriptor
    if len(held) == count:
        return held
    for descriptor in held.values():
        os.close(descriptor)
    return {}


@contextmanager
def lease(count: int) -> Iterator[list[str]]:
    """Hold `count` GPUs and make only them visible; wait while others hold them. No GPU in the machine: an empty list, at once.

    With fewer devices than asked for, all of them: the trainer checks that the global batch can still be dealt.
    """
    if "LOCAL_RANK" in os.environ:  # torchrun's process, whose parent holds the lease
        yield []
        return
    devices = visible() if count else []
    if not devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a job without a lease uses no device
        yield []
        return
    folder = Path(tempfile.gettempdir()) / f"palette-gpus-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    wanted, told = min(count, len(devices)), False
    while not (held := _take(devices, wanted, folder)):
        if not told:
            say(f"waiting for {wanted} of the GPUs {', '.join(devices)}")
            told = True
        time.sleep(0.5)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(held)
    try:
        yield list(held)
    finally:
        for descriptor in held.values():
            with suppress(OSError):
                os.close(descriptor)
