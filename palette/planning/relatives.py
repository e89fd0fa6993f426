"""Earlier results on disk that differ from those of a plan by code alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from palette.planning.plan import Plan
from palette.planning.reasons import changed_code, folders_by_name, written_spec
from palette.planning.remaining import newest_step
from palette.stages.base import Spec, digest
from palette.stages.train import TrainSpec


@dataclass(frozen=True)
class Relative:
    """Earlier stage on disk that differs from a planned one by code alone; a training also in its number of steps."""

    folder: Path
    facts: Mapping[str, Any]
    """Its spec as it was written."""
    spec: Spec
    """The same as this version reads it."""
    parents: tuple["Relative", ...]
    """Those of its parents that differ from the planned ones."""
    same_steps: bool
    engine: str
    """Fingerprint of the planned stage's code."""

    @cached_property
    def own_changes(self) -> list[str]:
        """Files of its code that differ, one line each; empty if only its parents' code does."""
        if self.spec.engine == self.engine:
            return []
        return list(changed_code(self.spec.kind, self.folder, self.spec.engine)) or ["the engine changed"]

    @property
    def changes(self) -> list[str]:
        """The same, with those of its parents."""
        inherited = [change for parent in self.parents for change in parent.changes]
        return list(dict.fromkeys([*self.own_changes, *inherited]))

    @property
    def state(self) -> Path:
        """Folder of a training's state."""
        key = digest({name: v for name, v in self.facts.items() if name not in ("hash", "name", "runtime", "steps")})
        return self.folder.parents[1] / "state" / key


class Relatives:
    """Search for what differs from the stages of a plan by code alone."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._earlier: dict[str, dict[str, list[Path]]] = {}
        self._found: dict[str, dict[str, Relative]] = {}

    def of(self, folder: str) -> dict[str, Relative]:
        """Return the relatives of a planned stage: folder, relative to the results folder → relative."""
        if folder not in self._found:
            spec = self._plan.stages[folder]
            if spec.kind not in self._earlier:
                self._earlier[spec.kind] = folders_by_name(self._plan.results, spec.kind)
            earlier = [f for f in self._earlier[spec.kind].get(spec.name, []) if f.name != Path(folder).name]
            found = [relative for place in earlier if (relative := self._relative(spec, place))]
            self._found[folder] = {f"{spec.kind}/{relative.folder.name}": relative for relative in found}
        return self._found[folder]

    def _relative(self, spec: Spec, place: Path) -> Relative | None:
        facts = written_spec(place) or {}
        content = {name: value for name, value in facts.items() if name not in ("hash", "name", "runtime")}
        if facts.get("kind") != spec.kind or not place.name.endswith(f"-{digest(content)}"):  # not whole
            return None
        earlier = spec.with_options_of(facts, ignored=("steps",))
        if earlier is None or earlier.parents.keys() != spec.parents.keys():
            return None
        parents = []
        for role, folder in spec.parents.items():
            if earlier.parents[role] != folder:
                parent = self.of(folder).get(earlier.parents[role])
                if parent is None or not parent.same_steps:
                    return None
                parents.append(parent)
        same_steps = spec.with_options_of(facts) is not None
        return Relative(place, facts, earlier, tuple(parents), same_steps, spec.engine)

    def trainings(self, spec: TrainSpec) -> Iterator[tuple[int, list[str]]]:
        """Yield steps and changed code of each relative of a training that differs in code.

        The steps are those that it has done, at most as many as `spec` has.
        """
        for relative in self.of(spec.folder).values():
            if relative.changes:
                finished = (relative.folder / "card.json").exists()
                steps = int(relative.facts["steps"]) if finished else newest_step(relative.state, spec.steps)
                yield min(steps, spec.steps), relative.changes
