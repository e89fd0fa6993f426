"""Training states on disk: `results/state/<key>/step-00001000.pt`, complete or absent.

The newest few and the milestones are kept. A state consists of tensors and plain values only, so that it can be read
with `weights_only=True`: no code in the file is run.
"""

import pickle
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from palette.errors import DataError
from palette.model.finite import not_finite
from palette.system.files import replacing
from palette.system.locks import held
from palette.system.progress import say

PARTS = {"step", "earlier", "seconds", "skipped", "network", "averages", "by_width", "optimizer", "scaler"}
"""Entries of a state.
The position in the data is the step; random numbers depend on the step, so there is no generator."""


@dataclass(frozen=True)
class States:
    """States of one training. folder: `results/state/<key>`."""

    folder: Path
    kept: int = 2
    """Number of newest states to keep. Two are one more than needed, in case the newest is damaged."""
    milestones: Collection[int] = ()
    """Steps whose states are never deleted."""

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:08}.pt"

    def steps(self, last: int) -> list[int]:
        """Return the steps of the existing states, up to step `last`, newest first."""
        names = (re.fullmatch(r"step-(\d+)\.pt", file.name) for file in self.folder.glob("step-*.pt"))
        return sorted((step for name in names if name and (step := int(name[1])) <= last), reverse=True)

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` (entries: `PARTS`) atomically, then delete states older than the newest `kept` up to this step.
        Milestones stay, and so do later states: they belong to a longer training of the same kind."""
        assert set(state) == PARTS
        with replacing(self.path(state["step"])) as temporary:
            torch.save(state, temporary)
        for step in self.steps(state["step"])[self.kept :]:
            if step not in self.milestones:
                self.path(step).unlink(missing_ok=True)

    def newest(self, last: int) -> Path | None:
        """Return the newest usable state up to step `last`, or None. Prints a message for each state it has to skip."""
        for path in map(self.path, self.steps(last)):
            if (fault := flaw(path)) is None:
                return path
            say(f"{path}: {fault}, skipped; resuming from an earlier checkpoint, or from step 0.")
        return None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the training against a second trainer, which waits here. A killed `snakemake` may leave its trainer
        running. The next one must not train alongside it, and continues from the state it leaves."""
        waiting = f"{self.folder}: another process is training this; waiting for it, then going on from its state."
        with held(self.folder / "lock", waiting):
            for unfinished in self.folder.glob(".*.tmp"):  # left by a process that was killed while writing
                unfinished.unlink()
            yield


def load(path: Path) -> dict[str, Any]:
    """Load a state.
    Its tensors stay in the file until they are read, and none is on a GPU. Raises DataError if it is missing."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise DataError(
            f"{path}: not there, though rank 0 has found it. The results folder must be on a disk that all machines see."
        ) from None
    return state


def flaw(path: Path) -> str | None:
    """Return why a state cannot be used, or None if it can. It may be damaged,
    not a training state, written by a version with other parts, or contain values that are not finite."""
    if not readable(path):
        return "damaged training state"
    try:
        state = load(path)
    except (pickle.UnpicklingError, RuntimeError, ValueError, TypeError):
        return "not a training state"
    if (parts := set(state)) != PARTS:
        return (
            f"training state of another version ({', '.join(sorted(map(str, parts ^ PARTS)))} more or less than here)"
        )
    if not_finite(("", leaf) for leaf in tree_leaves(state) if isinstance(leaf, torch.Tensor)):
        return "training state with values that are not finite"
    return None


def readable(path: Path) -> bool:
    """Return whether the file is complete. Reads all of it and compares its CRCs, which `torch.load` does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError):
        return False
