"""Training states on disk: `results/state/<key>/step-00001000.pt`, whole or absent, the newest two kept.

A state is tensors and plain values only, so that it is read with `weights_only=True`: no code in the file is run.
"""

import fcntl
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from palette.files import replacing
from palette.stage import say

KEPT = 2
"""Newest states that stay: one more than is needed, should the newest turn out damaged."""
PARTS = {"step", "seconds", "network", "averages", "optimizer"}


@dataclass(frozen=True)
class States:
    """The states of one training. folder: `results/state/<key>`."""

    folder: Path

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:08}.pt"

    def steps(self, last: int) -> list[int]:
        """Steps of the states that are there, up to step `last`, newest first."""
        names = (re.fullmatch(r"step-(\d+)\.pt", file.name) for file in self.folder.glob("step-*.pt"))
        return sorted((step for name in names if name and (step := int(name[1])) <= last), reverse=True)

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` (entries: `PARTS`) atomically, then delete those that are older than the newest two up to it.

        Later states stay: they belong to a longer training of the same kind.
        """
        assert set(state) == PARTS
        with replacing(self.path(state["step"])) as temporary:
            torch.save(state, temporary)
        for step in self.steps(state["step"])[KEPT:]:
            self.path(step).unlink(missing_ok=True)

    def newest(self, last: int) -> Path | None:
        """The newest readable state up to step `last`; says so where it has to pass over a damaged one."""
        for step in self.steps(last):
            if readable(self.path(step)):
                return self.path(step)
            say(f"{self.path(step)}: damaged training state, passed over. An earlier one or the start takes its place.")
        return None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the training against a second trainer, which waits here.

        A killed `snakemake` may leave its trainer running. The next one must not train beside it, and goes on from
        what it leaves. The operating system frees the lock of a process that ends, however it ends.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"{self.folder}: another process is training this; waiting for it, then going on from its state.")
                fcntl.flock(file, fcntl.LOCK_EX)
            for unfinished in self.folder.glob(".*.tmp"):  # of a process that was killed while writing
                unfinished.unlink()
            yield


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """A state, its tensors on `device`."""
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state


def readable(path: Path) -> bool:
    """Whether the file is whole: reads all of it and compares its CRCs, which `torch.load` does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError):
        return False
