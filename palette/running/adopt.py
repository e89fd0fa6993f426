"""Adoption: results that differ from the plan by code alone, taken over under the hashes of the plan.

Files get a second name (a hard link; a copy where there are none), so an earlier stage stays as it is, and its code
still finds it. As in a job, the card comes last: after a kill, the next adoption goes on.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from palette.errors import DataError
from palette.planning.plan import Plan
from palette.planning.relatives import Relative, Relatives
from palette.planning.remaining import Made, last_state, newest_step
from palette.running.cleanup import STATE, in_use
from palette.stages.base import Spec
from palette.stages.fingerprint import record_code
from palette.stages.stage import artifacts_in
from palette.stages.train import TrainSpec
from palette.system.files import read_json, replacing, write_json

ADOPTED = "adopted.json"
"""File in a training's state folder with what its card will say."""

DAMAGED = (DataError, KeyError, TypeError, AttributeError)
"""Errors from a card that is damaged, or of a version without some entry."""


@dataclass(frozen=True)
class Adoption:
    """Results of a planned stage, or its training state, that earlier code has made."""

    spec: Spec
    earlier: Relative
    cards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """File name → content of each card to take over with its artifacts."""
    steps: int = 0
    """Newest step of the training state to take over; 0 for a stage."""

    @property
    def title(self) -> str:
        """Return what is taken over: `sample photos-jpeg-palette-s0, 3 of 5 shards`."""
        name = f"{self.spec.kind} {self.spec.name}"
        if isinstance(self.spec, TrainSpec) and self.steps:
            return f"{name}, state at step {self.steps:,} of {self.spec.steps:,}"
        count = len(self.spec.jobs)
        return name if len(self.cards) == count else f"{name}, {len(self.cards)} of {count} shards"

    @property
    def rank(self) -> tuple[int, int, int, str, int]:
        """Return what the best of several adoptions has most of."""
        finished = max((str(card.get("finished")) for card in self.cards.values()), default="")
        return len(self.cards), self.steps, -len(self.earlier.changes), finished, len(self.history)

    @property
    def history(self) -> list[str]:
        """Return what is said of earlier adoptions of the same results."""
        if self.steps:
            file = self.earlier.state / ADOPTED
            return list(read_json(file)) if file.exists() else []
        return [sentence for card in self.cards.values() for sentence in card.get("adopted", [])]

    def sentence(self, engine: str) -> str:
        """Return what cards and the report say from now on. engine: fingerprint of the code that made the results."""
        part = f" up to step {self.steps:,}" if self.steps else ""
        day = datetime.now(UTC).date().isoformat()
        if engine == self.spec.engine:
            return f"made by code {engine}{part}, adopted with its parents on {day}"
        return f"made by code {engine}{part}, adopted for {self.spec.engine} on {day}"


def find(plan: Plan) -> list[Adoption]:
    """Return what can be adopted, parents first.

    The options of a stage and of its ancestors must be those of the plan, and the files of its parents those that it
    was made from. Tables and the report are left out: they keep one result, and are soon made again.
    """
    search = _Search(plan)
    for spec in plan.stages.values():
        if spec.keeps_old:
            search.add(spec)
    return [*search.stages.values(), *search.states.values()]


class _Search:
    """Search for adoptions, stage by stage, parents first."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.made, self.relatives = plan, Made(plan.results), Relatives(plan)
        self.stages: dict[str, Adoption] = {}
        """Folder of a stage → its adoption."""
        self.states: dict[str, Adoption] = {}
        """Key of a state → its adoption."""
        self._artifacts: dict[str, dict[str, str]] = {}

    def add(self, spec: Spec) -> None:
        """Find the best results for a planned stage, and the best training state."""
        relatives = list(self.relatives.of(spec.folder).values())
        exact = [Adoption(spec, r, dict(self._cards(spec, r))) for r in relatives if r.same_steps]
        if found := [adoption for adoption in exact if adoption.cards]:
            self.stages[spec.folder] = max(found, key=lambda adoption: adoption.rank)
        if isinstance(spec, TrainSpec):
            known = self.states.get(spec.state_key)
            states = [Adoption(spec, r, steps=self._steps(spec, r)) for r in relatives]
            better = [s for s in states if s.steps > (known.steps if known else last_state(self.plan.results, spec))]
            if better:
                self.states[spec.state_key] = max(better, key=lambda adoption: adoption.rank)

    def _cards(self, spec: Spec, earlier: Relative) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the name and content of the cards of jobs that are done in `earlier` and not in the plan."""
        for shard in spec.jobs:
            *files, card = map(PurePosixPath, spec.written(shard))
            if str(card) in self.made:
                continue
            with suppress(*DAMAGED):
                facts = read_json(earlier.folder / card.name)
                whole = facts["artifacts"].keys() >= {file.name for file in files}
                made_from = {role: parent["artifacts"] for role, parent in facts["parents"].items()}
                own = earlier.folder.name.endswith(f"-{facts['spec']}")
                if whole and own and self._same_parents(spec, earlier, made_from):
                    yield card.name, facts

    def _steps(self, spec: TrainSpec, earlier: Relative) -> int:
        """Return the newest step of an earlier training state that can be adopted; 0 if there is none."""
        steps = newest_step(earlier.state, spec.steps)
        if not steps or in_use(earlier.state) or in_use(self.plan.results / "state" / spec.state_key):
            return 0
        with suppress(*DAMAGED):
            made_from = {r: artifacts_in(self.plan.results / folder) for r, folder in earlier.spec.parents.items()}
            return steps if self._same_parents(spec, earlier, made_from) else 0
        return 0

    def _same_parents(self, spec: Spec, earlier: Relative, made_from: Mapping[str, Mapping[str, str]]) -> bool:
        """Return whether the planned parents have, or will have by adoption, the files that `earlier` was made from."""
        changed = [role for role, folder in spec.parents.items() if earlier.spec.parents[role] != folder]
        known = {role: self._artifacts_of(spec.parents[role]).items() for role in changed}
        return all(made_from[role] and made_from[role].items() <= known[role] for role in changed)

    def _artifacts_of(self, folder: str) -> dict[str, str]:
        """Return artifact → SHA-256 of a planned stage, as it is after adoption."""
        if folder not in self._artifacts:
            cards = self.stages[folder].cards.values() if folder in self.stages else ()
            adopted = {name: facts["sha256"] for card in cards for name, facts in card["artifacts"].items()}
            self._artifacts[folder] = adopted | artifacts_in(self.plan.results / folder)
        return self._artifacts[folder]


def take_over(plan: Plan, adoptions: Sequence[Adoption]) -> None:
    """Give adopted results their names in the plan. The caller holds the results folder."""
    for adoption in adoptions:
        record_code(plan.results, adoption.spec.kind)
        adoption.spec.write(plan.results)
        if adoption.steps:
            _take_state(plan.results, adoption)
        else:
            _take_stage(plan.results, adoption)


def _take_stage(results: Path, adoption: Adoption) -> None:
    """Link the artifacts of each job, then write its card."""
    spec, folder = adoption.spec, adoption.earlier.folder
    for name, card in adoption.cards.items():
        for artifact in map(PurePosixPath, card["artifacts"]):
            inside = not artifact.is_absolute() and ".." not in artifact.parts
            if inside and (folder / artifact).is_file():  # large files may have been deleted after use
                _link(folder / artifact, results / spec.folder / artifact)
        parents = {role: {**parent, "folder": spec.parents[role]} for role, parent in card["parents"].items()}
        history = [*card.get("adopted", []), adoption.sentence(card["engine"])]
        write_json(results / spec.folder / name, {**card, "spec": spec.hash, "parents": parents, "adopted": history})


def _take_state(results: Path, adoption: Adoption) -> None:
    """Link the files of a training state, the newest step last."""
    assert isinstance(adoption.spec, TrainSpec)
    state, earlier = results / "state" / adoption.spec.state_key, adoption.earlier
    write_json(state / ADOPTED, [*adoption.history, adoption.sentence(earlier.spec.engine)])
    files = [file for file in earlier.state.rglob("*") if file.is_file() and STATE.fullmatch(file.name)]
    for file in sorted(files, key=lambda file: (file.suffix == ".pt", file.name)):
        if file.name not in ("lock", "heartbeat.json", ADOPTED):
            _link(file, state / file.relative_to(earlier.state))


def _link(source: Path, target: Path) -> None:
    """Give a file a second name in place of `target`, or a copy where the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        temporary.hardlink_to(source)
        temporary.replace(target)
    except OSError:
        with replacing(target) as copy:
            shutil.copyfile(source, copy)
    finally:
        temporary.unlink(missing_ok=True)  # it stays if both names are those of one file already
