"""Training progress lost to code changes: trainings that start over although no option changed."""

from collections.abc import Iterable
from typing import Any

from palette.costs.estimate import Estimator
from palette.planning.plan import Plan
from palette.planning.relatives import Relatives
from palette.planning.remaining import Job, last_state
from palette.stages.train import TrainSpec

Facts = dict[str, Any]


def losses(plan: Plan, folders: Iterable[str], device: str) -> list[Facts]:
    """Return the trainings in `folders` that start over at step 0 only because the code changed, as JSON values.

    Trainings that share a state count once, as the longest. device: a key of `palette.costs.gpus.GPUS`, for the cost of
    repeating the lost steps.
    """
    relatives = Relatives(plan)
    specs = [spec for folder in folders if isinstance(spec := plan.stages[folder], TrainSpec)]
    found = {}
    for spec in sorted(specs, key=lambda spec: spec.steps):
        steps, changes = max(relatives.trainings(spec), default=(0, []))
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
