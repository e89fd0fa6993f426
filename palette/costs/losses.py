"""Training progress lost to code changes: trainings that start over although no option changed."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from palette.costs.estimate import Estimator, last_state, newest_step
from palette.planning.plan import Plan
from palette.planning.reasons import HASHED, NOT_COMPARED, changed_code, flat, written_spec
from palette.planning.remaining import Job
from palette.stages.base import Spec, digest
from palette.stages.train import TrainSpec

Facts = dict[str, Any]
NOT_OPTIONS = {*NOT_COMPARED, "steps"}


def losses(plan: Plan, folders: Iterable[str], device: str) -> list[Facts]:
    """Return the trainings in `folders` that start over at step 0 only because the code changed, as JSON values.

    Trainings that share a state count once, as the longest. device: a key of `palette.costs.gpus.GPUS`, for the cost of
    repeating the lost steps.
    """
    specs = [spec for folder in folders if isinstance(spec := plan.stages[folder], TrainSpec)]
    found = {}
    for spec in sorted(specs, key=lambda spec: spec.steps):
        steps, changes = max(_earlier(plan, spec), default=(0, []))
        if steps and not last_state(plan.results, spec):
            found[spec.state_key] = (spec, steps, changes)
    estimator = Estimator.of(plan, device) if found else None
    return [_facts(spec, steps, changes, estimator) for spec, steps, changes in found.values() if estimator]


def _facts(spec: TrainSpec, steps: int, changes: list[str], estimator: Estimator) -> Facts:
    again = estimator.estimate(Job(spec.folder), done=spec.steps - steps)
    gpu_hours = 0.0 if estimator.device == "cpu" else again.gpu_hours
    return {
        "training": spec.name,
        "steps": steps,
        "of": spec.steps,
        "changed": changes,
        "seconds": again.seconds,
        "gpu_hours": gpu_hours,
    }


def _earlier(plan: Plan, spec: TrainSpec) -> Iterator[tuple[int, list[str]]]:
    """Yield steps and code changes of each training on disk that differs from `spec` in code alone.

    The steps are those it has done, at most as many as `spec` has.
    """
    for file in plan.results.glob(f"train/{spec.name}-*/spec.yaml"):
        folder, facts = file.parent, written_spec(file.parent)
        name = HASHED.fullmatch(folder.name)
        if facts and name and name[1] == spec.name and folder.name != spec.folder.partition("/")[2]:
            changes = _changes(plan, spec, folder, facts)
            if changes:
                yield min(_steps(plan.results, folder, facts), spec.steps), changes


def _changes(plan: Plan, spec: Spec, earlier: Path, facts: Mapping[str, Any]) -> list[str] | None:
    """Return how the code of an earlier stage and its parents differs from `spec`'s; None if anything else differs.

    An option that only one of the two versions knows counts as a code change.
    """
    before, now = flat(facts), flat(spec.model_dump(mode="json"))
    options = {key for key in before.keys() & now.keys() if key.partition(".")[0] not in NOT_OPTIONS}
    if any(before[key] != now[key] for key in options) or facts.get("parents", {}).keys() != spec.parents.keys():
        return None
    changes = []
    if facts.get("engine") != spec.engine:
        changes = list(changed_code(spec.kind, earlier)) or ["the engine changed"]
    for role, folder in spec.parents.items():
        parent = plan.results / facts["parents"][role]
        if parent != plan.results / folder:
            found = _changes(plan, plan.stages[folder], parent, written_spec(parent) or {})
            if found is None:
                return None
            changes += found
    return list(dict.fromkeys(changes))


def _steps(results: Path, folder: Path, facts: Mapping[str, Any]) -> int:
    """Return the number of steps that a training on disk has done."""
    if (folder / "card.json").exists():
        return int(facts["steps"])
    key = digest({name: value for name, value in facts.items() if name not in ("hash", "name", "runtime", "steps")})
    return newest_step(results / "state" / key, int(facts["steps"]))
