"""File locks. The kernel frees them however a process ends, so nothing is left to unlock after `kill -9`.

Some file systems have none (Lustre mounted without `flock`, NFS without its lock daemon). Work continues there without
them, and a message says that nothing keeps two runs apart.
"""

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_warned: set[int] = set()
"""Devices without locks for which the warning was printed."""


def open_lock(path: Path) -> int:
    """Open a lock file, creating it if need be; return its descriptor. NFS grants locks only with read and write access."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def take(descriptor: int, path: Path, *, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock the open file `path`: return True when it is locked, False if another process holds it, None without locks.

    Other errors say nothing about other processes, and are raised.
    """
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, operation if wait else operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        error.filename = str(path)
        if error.errno not in UNSUPPORTED:
            raise
        if (device := os.fstat(descriptor).st_dev) not in _warned:
            _warned.add(device)
            text = "this file system has no file locks, so nothing keeps two runs apart. Start only one at a time."
            print(f"{path.parent}: {text}", file=sys.stderr, flush=True)
        return None
    return True


@contextmanager
def held(path: Path, waiting: str = "") -> Iterator[bool]:
    """Hold the lock `path`, whose file stays; yield whether another process had it first, and then print `waiting`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = open_lock(path)
    try:
        taken = take(descriptor, path) is False
        if taken:
            if waiting:
                print(waiting, file=sys.stderr, flush=True)
            take(descriptor, path, wait=True)
        yield taken
    finally:
        os.close(descriptor)
