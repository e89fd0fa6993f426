"""Copies of image stores on a local disk of the training machine, for results on a slow disk."""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from palette.errors import ConfigError, DataError
from palette.system.files import read_json
from palette.system.files import sha256 as digest_of
from palette.system.locks import held, open_lock, take
from palette.system.progress import say


def resolve(scratch: str) -> Path:
    """Return the folder that `train.scratch` names on this machine.
    Raises ConfigError for a variable that is not set."""
    path = os.path.expandvars(scratch)
    if unknown := re.search(r"\$\w+|\$\{\w+\}", path):
        raise ConfigError(f"train.scratch: {scratch!r} names {unknown[0]}, which is not set on this machine.")
    return Path(path).expanduser()


@contextmanager
def local(stores: list[Path], card: Path, scratch: str | None) -> Iterator[list[Path]]:
    """Yield the paths to read: `stores` themselves, or copies of them in `scratch`, with the same names in one folder.

    The first process on a machine copies, the others wait; each copy is compared with the SHA-256 in the stage's
    `card`. The last process to end deletes the copies. Copies left by a killed process are used by the next one. If the
    disk is too small, the stores are read in place.
    """
    if scratch is None:
        yield stores
        return
    known = {path.name: read_json(card)["artifacts"][path.name] for path in stores}
    place = resolve(scratch) / f"palette-{hashlib.sha256(repr(known).encode()).hexdigest()[:16]}"
    with held(place.with_suffix(".lock")):
        place.mkdir(exist_ok=True)
        fits = sum(_copy(path, place / path.name, **known[path.name]) for path in stores) == len(stores)
        readers = open_lock(place / "readers")
        take(readers, place / "readers", shared=True, wait=True)
    try:
        yield [place / path.name for path in stores] if fits else stores
    finally:
        _delete(place, readers)
        os.close(readers)


def _copy(source: Path, target: Path, sha256: str, bytes: int) -> bool:
    """Copy a file unless the copy exists.
    Return False if it does not fit; raise DataError if its SHA-256 is not the card's."""
    if target.exists() and target.stat().st_size == bytes:
        return True
    unfinished = target.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        if shutil.disk_usage(target.parent).free < bytes:
            raise OSError(errno.ENOSPC, "")
        say(f"copying {source} to {target.parent} ({bytes / 1e9:.1f} GB)")
        shutil.copyfile(source, unfinished)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        unfinished.unlink(missing_ok=True)
        say(f"{target.parent}: no room for {source.name} ({bytes / 1e9:.1f} GB); it is read from {source.parent}.")
        return False
    if digest_of(unfinished) != sha256:
        unfinished.unlink()
        raise DataError(
            f"{source}: not the file that its card describes. Delete {source.parent} and run `snakemake` again."
        )
    unfinished.replace(target)
    return True


def _delete(place: Path, readers: int) -> None:
    """Delete the copies unless another process reads them.
    Without locks they stay, because readers cannot be detected."""
    with held(place.with_suffix(".lock")):
        if take(readers, place / "readers"):
            shutil.rmtree(place, ignore_errors=True)
