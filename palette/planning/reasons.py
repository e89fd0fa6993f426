"""Reasons why a stage must run: its differences from earlier stages of the same name on disk."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from palette.planning.plan import Plan
from palette.planning.remaining import Made, done, jobs_of
from palette.stages.base import Loader, Spec
from palette.stages.fingerprint import digests, recorded_code
from palette.stages.kinds import KINDS
from palette.stages.rows import Row

HASHED = re.compile(r"(.+)-[0-9a-f]{10}")

NOT_COMPARED = {"kind", "hash", "name", "engine", "parents", "runtime", "tabulate"}


@dataclass
class Reasons:
    """Reasons for the stages of one plan, given what is on disk."""

    plan: Plan
    made: Made
    rows: dict[str, Row] = field(default_factory=dict)
    """Folder of a stage → an experiment that needs it."""

    def __post_init__(self) -> None:
        for row in reversed(self.plan.rows):
            for folder in self._of_row(row):
                self.rows[folder] = row
        self._earlier = {kind: folders_by_name(self.made.results, kind) for kind in KINDS}

    def _of_row(self, row: Row) -> Iterator[str]:
        stages = [f for f in (row.score, row.sample, row.train, row.prepare, row.mask) if f]
        yield from stages
        yield from (parent for folder in stages for parent in self.plan.stages[folder].parents.values())

    def of(self, folder: str) -> list[str]:
        """Return why this stage has jobs to run, one line per reason: options first, then code, then parents."""
        spec = self.plan.stages[folder]
        if missing := self._missing(spec):
            return [missing]
        earlier = [(path, facts) for path in self._candidates(spec) if (facts := written_spec(path)) is not None]
        found = [list(self._differences(spec, path, facts)) for path, facts in earlier]
        # The spec on disk with the fewest differences is the one that was changed.
        return min(filter(None, found), key=len, default=["never made"])

    def _missing(self, spec: Spec) -> str | None:
        """Return what is missing from a stage that exists in part.

        None if all or nothing of it exists, or if it is of a kind that keeps only one result.
        """
        jobs, files = jobs_of(self.plan, spec.folder), self.plan.outputs(spec.folder)
        gone = [file for file in files if file not in self.made]
        if len(gone) in (0, len(files)) or not spec.keeps_old:
            return None
        if spec.shards:
            return (
                f"unfinished: {sum(not done(self.plan, self.made, job) for job in jobs)} of {len(jobs)} shards missing"
            )
        return f"missing: {', '.join(file.rpartition('/')[2] for file in gone)}"

    def _candidates(self, spec: Spec) -> list[Path]:
        if not spec.keeps_old:
            return [self.made.results / spec.folder]
        own = self.made.results / spec.folder
        return [folder for folder in self._earlier[spec.kind].get(spec.name, []) if folder != own]

    def _differences(self, spec: Spec, earlier: Path, facts: Mapping[str, Any]) -> Iterator[str]:
        now = spec.model_dump(mode="json")
        before_flat, now_flat = flat(facts), flat(now)
        for key in [*now_flat, *(key for key in before_flat if key not in now_flat)]:
            if key.partition(".")[0] in NOT_COMPARED or before_flat.get(key) == now_flat.get(key):
                continue
            if spec.kind == "report" and key.startswith("tables.") and {key} <= before_flat.keys() & now_flat.keys():
                yield f"table {key.removeprefix('tables.')} is another"
            else:
                yield f"{self._option(spec, key)}{_change(before_flat.get(key), now_flat.get(key))}"
        if facts.get("engine") != spec.engine:
            yield from changed_code(spec.kind, earlier, str(facts.get("engine")))
        before = set(facts.get("parents", {}).values())
        for parent in [self.plan.stages[folder] for folder in spec.parents.values() if folder not in before]:
            yield f"{parent.kind} {parent.name} is another"

    def _option(self, spec: Spec, key: str) -> str:
        """Return the config path of an option: `models.palette.train.learning_rate` for `learning_rate`."""
        top, _, rest = key.partition(".")
        places, row = spec.options, self.rows.get(spec.folder)
        place = places[top] + (f".{rest}" if rest else "") if top in places else f"{places.get('', spec.kind)}.{key}"
        named = {"table": spec.name} | (row.model_dump(include={"dataset", "task", "model", "sampler"}) if row else {})
        return re.sub(r"\{(\w+)\}", lambda match: str(named.get(match[1], "…")), place)


def folders_by_name(results: Path, kind: str) -> dict[str, list[Path]]:
    """Return name → folders of the stages of one kind that are on disk."""
    found: dict[str, list[Path]] = {}
    place = results / kind
    for folder in place.iterdir() if place.is_dir() else ():
        if match := HASHED.fullmatch(folder.name):
            found.setdefault(match[1], []).append(folder)
    return found


def written_spec(folder: Path) -> dict[str, Any] | None:
    """Return the spec in a folder as written by any version; None if it is not a spec."""
    try:
        facts = yaml.load((folder / "spec.yaml").read_text(encoding="utf-8"), Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return facts if isinstance(facts, dict) else None


def flat(value: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    """Return nested mappings as one mapping with dotted keys.

    The rows of tables become one key each, by experiment, without the folders in them.
    """
    found: dict[str, Any] = {}
    for key, entry in value.items():
        if isinstance(entry, Mapping):
            found |= flat(entry, f"{start}{key}.")
        elif key == "rows" and isinstance(entry, list):
            found |= {f"{start}{key}.{row['experiment']}": True for row in entry}
        else:
            found[start + key] = entry
    return found


def _change(before: Any, now: Any) -> str:
    """Return `: 0.001 → 0.0001`, or that a table row is new or gone."""
    if True in (before, now) and None in (before, now):  # a row of a table
        return " is new" if now else " is gone"
    return f": {_text(before)} → {_text(now)}"


def _text(value: Any) -> str:
    text = "none" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"


def changed_code(kind: str, earlier: Path, engine: str) -> Iterator[str]:
    """Yield the engine's files that differ from those of an earlier stage: `engine: palette/training/loop.py changed`.

    earlier: its folder. engine: fingerprint of its code.
    """
    before = recorded_code(earlier.parents[1], engine) or _of_cards(earlier)
    if before is None:
        yield "the engine changed"
        return
    now = digests(f"palette.stages.{kind}")
    for file in sorted(before.keys() | now.keys()):
        if before.get(file) != now.get(file):
            change = "changed" if file in before and file in now else "is new" if file in now else "is gone"
            yield f"engine: {file} {change}"


def _of_cards(folder: Path) -> dict[str, str] | None:
    """Return the digests of the engine's files from one of a folder's cards; None if no card has them."""
    for file in sorted(folder.glob("*.json")):
        try:
            card = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError):
            continue
        if isinstance(card, dict) and isinstance(card.get("modules"), dict):
            return dict(card["modules"])
    return None
