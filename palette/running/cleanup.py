"""Cleanup of a results folder: old stages, training states and logs that no current spec refers to.

Only files that a stage has certainly written are listed: those that its cards list, the cards and the spec themselves,
training states, logs, and what a killed process was writing. Everything else stays, and so does the folder that holds
it.
"""

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palette.data.prepared import PARTS
from palette.errors import ConfigError
from palette.planning.plan import Plan
from palette.planning.reasons import HASHED
from palette.running.status import SILENCE
from palette.stages.kinds import KINDS
from palette.stages.train import TrainSpec
from palette.system.locks import open_lock, take

UNFINISHED = re.compile(r"\..+\.(\d+\.tmp|part|tag|lock)")
"""Files that a killed process was writing or downloading."""
SHARD = re.compile(r"(shard|draws)-\d{3,}\.(zip|npz|json)")
STATE = re.compile(r"step-\d{8}\.(pt|png)|lock|log\.jsonl|adopted\.json|heartbeat\.json|events\.out\.tfevents\..+")
LOG = re.compile(r"\.?([^.].*-[0-9a-f]{10})(-\d+)?\.log")
"""Log files. The hidden form is a second name that protects a log from Snakemake (`workflow/bin/into`)."""
KEY = re.compile(r"[0-9a-f]{10}")


@dataclass(frozen=True)
class Heap:
    """Files that belong together and that no spec refers to."""

    folder: Path
    files: tuple[Path, ...]
    foreign: int
    """Number of files in the folder that are not recognized, and stay."""

    @property
    def bytes(self) -> int:
        return sum(file.lstat().st_size for file in self.files)

    @property
    def newest(self) -> float:
        """Latest modification time of the files, in seconds since the epoch."""
        return max(file.lstat().st_mtime for file in self.files)


def find(plans: Sequence[Plan], keep_days: float = 0) -> list[Heap]:
    """Return what none of `plans`, of one results folder, refers to. keep_days: younger results stay."""
    results = {plan.results.absolute() for plan in plans}
    if len(results) > 1:
        raise ConfigError(f"these configs have different results folders: {', '.join(sorted(map(str, results)))}.")
    (place,) = results
    stages = {folder for plan in plans for folder in plan.stages}
    states = {s.state_key for plan in plans for s in plan.stages.values() if isinstance(s, TrainSpec)}
    heaps = [*_stages(place, stages), *_states(place, states), *_logs(place, stages)]
    limit = time.time() - keep_days * 86400
    return [heap for heap in heaps if heap.files and (not keep_days or heap.newest < limit)]


def _folders(place: Path) -> list[Path]:
    """Return the real folders in `place`, sorted. Links are left out, because the user has set them up."""
    found = sorted(place.iterdir()) if place.is_dir() and not place.is_symlink() else []
    return [folder for folder in found if folder.is_dir() and not folder.is_symlink()]


def _heap(folder: Path, known: set[Path]) -> Heap:
    files = [Path(place) / name for place, _, names in os.walk(folder) for name in names]
    ours = tuple(sorted(file for file in files if not file.is_symlink() and file in known))
    return Heap(folder, ours, len(files) - len(ours))


def _stages(results: Path, current: set[str]) -> Iterator[Heap]:
    for kind, spec in KINDS.items():
        for folder in _folders(results / kind):
            if f"{kind}/{folder.name}" not in current and (HASHED.fullmatch(folder.name) or not spec.keeps_old):
                yield _heap(folder, _written(folder, kind))


def _written(folder: Path, kind: str) -> set[Path]:
    """Return the files that a stage of this kind has written into its folder; none if the spec is not its own."""
    name, hashed = folder.name.rpartition("-")[2], KINDS[kind].keeps_old
    head = re.match(r"kind: (\w+)\nhash: '?([0-9a-f]{10})'?\n", _text(folder / "spec.yaml"))  # of any version
    if head is None or head[1] != kind or (hashed and head[2] != name):
        return set()
    found = {folder / name for name in ("spec.yaml", *KINDS[kind].files)}
    for file in folder.iterdir():
        artifacts = _artifacts(file) if file.suffix == ".json" else None
        if artifacts is not None:
            found |= {file, *(folder / name for name in artifacts)}
        elif SHARD.fullmatch(file.name) or UNFINISHED.fullmatch(file.name):
            found.add(file)
    return found | {*(folder / PARTS).rglob("*")}


def _text(file: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return file.read_text(encoding="utf-8")
    return ""


def _artifacts(card: Path) -> dict[str, Any] | None:
    """Return the artifacts in a card; None if the file is no card."""
    with suppress(json.JSONDecodeError):
        content = json.loads(_text(card))
        if isinstance(content, dict) and isinstance(content.get("artifacts"), dict):
            return dict(content["artifacts"])
    return None


def _states(results: Path, current: set[str]) -> Iterator[Heap]:
    for folder in _folders(results / "state"):
        if KEY.fullmatch(folder.name) and folder.name not in current and not in_use(folder):
            files = folder.rglob("*")
            yield _heap(folder, {f for f in files if STATE.fullmatch(f.name) or UNFINISHED.fullmatch(f.name)})


def in_use(state: Path) -> bool:
    """Return whether a trainer that outlived its Snakemake uses a state; without file locks, its heartbeat decides."""
    lock, beat = state / "lock", state / "heartbeat.json"
    if not lock.exists():
        return False
    descriptor = open_lock(lock)
    free = take(descriptor, lock)
    os.close(descriptor)
    if free is None:
        return beat.exists() and time.time() - beat.stat().st_mtime < SILENCE
    return not free


def _logs(results: Path, current: set[str]) -> Iterator[Heap]:
    for folder in _folders(results / "logs"):
        files = [file for file in sorted(folder.iterdir()) if file.is_file() and not file.is_symlink()]
        matches = {file: match for file in files if (match := LOG.fullmatch(file.name))}
        old = tuple(file for file, match in matches.items() if f"{folder.name}/{match[1]}" not in current)
        if folder.name in KINDS and old:
            yield Heap(folder, old, 0)


def delete(heap: Heap) -> None:
    """Delete the files of a heap, and the folders that become empty."""
    for file in heap.files:
        file.unlink(missing_ok=True)
    for place, _, _ in sorted(os.walk(heap.folder), reverse=True):
        with suppress(OSError):  # the folder is not empty
            Path(place).rmdir()


@contextmanager
def alone(results: Path) -> Iterator[None]:
    """Hold the results folder as a run does. Raises ConfigError if it does not exist, or while a run is active there."""
    if not results.is_dir():
        raise ConfigError(f"{results}: no such folder. No run has begun there.")
    descriptor = open_lock(results / ".lock")
    try:
        if take(descriptor, results / ".lock") is False:
            raise ConfigError(f"{results}: a snakemake is running in this folder. Wait for it, or stop it.")
        yield
    finally:
        os.close(descriptor)
