"""Copies of image stores on a disk of the machine that trains, where the results lie on a slow one."""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from palette.errors import ConfigError, DataError
from palette.files import read_json
from palette.stage import say

BLOCK = 16 << 20
"""Bytes that are copied at a time."""


def resolve(scratch: str) -> Path:
    """The folder that `train.scratch` names on this machine. Raises ConfigError for a variable that is not set."""
    path = os.path.expandvars(scratch)
    if unknown := re.search(r"\$\w+|\$\{\w+\}", path):
        raise ConfigError(f"train.scratch: {scratch!r} names {unknown[0]}, which is not set on this machine.")
    return Path(path).expanduser()


@contextmanager
def local(stores: list[Path], card: Path, scratch: str | None) -> Iterator[list[Path]]:
    """Yield the paths to read: `stores` themselves, or copies of them in `scratch`, of the same names in one folder.

    The first process of a machine copies, the others wait; each copy is compared with the SHA-256 in the stage's `card`. The last
    process to end deletes it. What one leaves that was killed is used by the next. Where the disk is too small, the stores are
    read where they are.
    """
    if scratch is None:
        yield stores
        return
    known = {path.name: read_json(card)["artifacts"][path.name] for path in stores}
    place = resolve(scratch) / f"palette-{hashlib.sha256(repr(known).encode()).hexdigest()[:16]}"
    with _alone(place):
        place.mkdir(exist_ok=True)
        fits = sum(_copy(path, place / path.name, **known[path.name]) for path in stores) == len(stores)
        readers = (place / "readers").open("w")
        fcntl.flock(readers, fcntl.LOCK_SH)
    with readers:
        try:
            yield [place / path.name for path in stores] if fits else stores
        finally:
            _delete(place, readers.fileno())


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold a lock against processes that copy to this place or delete it. Its empty file stays: others may be waiting at it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _copy(source: Path, target: Path, sha256: str, bytes: int) -> bool:
    """Copy a file unless the copy is there. Returns False if it does not fit; raises DataError if the bytes are not those of the card."""
    if target.exists() and target.stat().st_size == bytes:
        return True
    unfinished = target.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    if shutil.disk_usage(target.parent).free < bytes:
        say(f"{target.parent}: no room for {source.name} ({bytes / 1e9:.1f} GB); it is read from {source.parent}.")
        return False
    say(f"copying {source} to {target.parent} ({bytes / 1e9:.1f} GB)")
    digest = hashlib.sha256()
    with source.open("rb") as reading, unfinished.open("wb") as writing:
        while block := reading.read(BLOCK):
            digest.update(block)
            writing.write(block)
    if digest.hexdigest() != sha256:
        unfinished.unlink()
        raise DataError(
            f"{source}: not the file that its card describes. Delete {source.parent} and run `snakemake` again."
        )
    unfinished.replace(target)
    return True


def _delete(place: Path, readers: int) -> None:
    """Delete the copies, unless another process reads them."""
    with _alone(place):
        try:
            fcntl.flock(readers, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(place, ignore_errors=True)
