"""Actual times of finished jobs, from the cards of the stages on disk."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from palette.errors import ConfigError
from palette.stages.base import Spec
from palette.stages.kinds import KINDS
from palette.stages.reading import read_spec

NEWEST = 60
"""Number of cards of each kind that an estimate uses; more would not change it."""


@dataclass(frozen=True)
class Record:
    """One finished job."""

    spec: Spec
    card: str
    """Path of the job's card, relative to the results folder."""
    device: str
    devices: int
    seconds: float
    """Duration; for a training that was interrupted or continues a shorter one, the total of all its processes."""
    finished: datetime

    @property
    def shard(self) -> str | None:
        name = Path(self.card).stem
        return name.removeprefix("shard-") if name.startswith("shard-") else None


def records(results: Path, newest: int | None = NEWEST) -> list[Record]:
    """Return the `newest` jobs of each kind, or all for None, oldest first. Skips what this version cannot read."""
    found = [record for kind in KINDS for record in _of_kind(results, kind, newest)]
    return sorted(found, key=lambda record: record.finished)


def _of_kind(results: Path, kind: str, newest: int | None) -> Iterator[Record]:
    patterns = (f"{kind}/*/card.json", f"{kind}/*/shard-*.json", f"{kind}/card-*.json", f"{kind}/*/card-*.json")
    cards = [card for pattern in patterns for card in results.glob(pattern)]
    specs: dict[Path, Spec | None] = {}
    for card in sorted(cards, key=lambda file: file.stat().st_mtime, reverse=True)[:newest]:
        if card.parent not in specs:
            specs[card.parent] = spec_at(card.parent)
        spec = specs[card.parent]
        if spec is not None and (record := _record(results, card, spec)):
            yield record


def spec_at(folder: Path) -> Spec | None:
    """Return the spec of a stage on disk; None if this version cannot read it."""
    try:
        return read_spec(folder / "spec.yaml")
    except ConfigError:
        return None


def _record(results: Path, file: Path, spec: Spec) -> Record | None:
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
        if card["spec"] != spec.hash:
            return None
        return Record(
            spec=spec,
            card=str(file.relative_to(results)),
            device=card.get("device", "cpu"),
            devices=card.get("devices", 1),
            seconds=max(card["seconds"], card.get("training_seconds", 0)),
            finished=datetime.fromisoformat(card["finished"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
