"""Summary of a plan: what will run, why, and its cost, as JSON values."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from palette.costs.estimate import Estimate, Estimator, requested_devices
from palette.costs.losses import losses
from palette.costs.schedule import Schedule, simulate
from palette.planning.plan import Plan
from palette.planning.reasons import Reasons
from palette.planning.remaining import Job, Made, remaining

Facts = dict[str, Any]


def planned(plan: Plan, device: str, gpus: int, nodes: int) -> tuple[Facts, Schedule]:
    """Return the summary of the remaining jobs, and their schedule on `gpus` devices.

    device: a key of `palette.costs.gpus.GPUS`.
    """
    made = Made(plan.results)
    jobs, reasons = remaining(plan, made), Reasons(plan, made)
    estimator = Estimator.of(plan, device, gpus)
    estimates = _estimates(estimator, jobs)
    costs, schedule = _costs(estimator, estimates, gpus, nodes)
    facts = {
        "stages": [_stage(folder, reasons.of(folder), stage) for folder, stage in estimates.items()],
        "done": len(plan.stages) - len(jobs),
        "losses": losses(plan, jobs, device),
        "memory": estimator.memory(jobs),
        **costs,
    }
    return facts, schedule


def costed(plan: Plan, device: str, gpus: int, jobs: Mapping[str, Sequence[Job]]) -> Facts:
    """Return the cost of `jobs`, by the folders of their stages, without reasons and memory, which take long."""
    estimator = Estimator.of(plan, device, gpus)
    return _costs(estimator, _estimates(estimator, jobs), gpus, nodes=1)[0]


def enough(plan: Plan, device: str) -> int:
    """Return the GPUs that the largest job of a plan requests, at least 1; for `cpu`, this machine's cores."""
    if device == "cpu":
        return os.cpu_count() or 1
    return max(1, *(requested_devices(spec, device) for spec in plan.stages.values()))


def _estimates(estimator: Estimator, jobs: Mapping[str, Sequence[Job]]) -> dict[str, list[Estimate]]:
    return {folder: [estimator.estimate(job) for job in stage] for folder, stage in jobs.items()}


def _stage(folder: str, why: Sequence[str], estimates: Sequence[Estimate]) -> Facts:
    return {
        "stage": folder,
        "kind": folder.partition("/")[0],
        "why": list(why),
        "jobs": len(estimates),
        "flops": sum(estimate.flops for estimate in estimates),
        "seconds": sum(estimate.seconds for estimate in estimates),
        "gpus": estimates[0].gpus,
        "gpu_hours": sum(estimate.gpu_hours for estimate in estimates),
        "basis": estimates[0].basis,
    }


def _costs(
    estimator: Estimator, estimates: Mapping[str, Sequence[Estimate]], gpus: int, nodes: int
) -> tuple[Facts, Schedule]:
    every = [estimate for stage in estimates.values() for estimate in stage]
    schedule, on_cpu = simulate(estimator.plan, every, gpus, nodes), estimator.device == "cpu"
    facts = {
        "results": str(estimator.results),
        "device": estimator.gpu.name,
        "totals": {
            "jobs": len(every),
            "flops": sum(estimate.flops for estimate in every),
            "gpu_hours": 0.0 if on_cpu else sum(estimate.gpu_hours for estimate in every),
            "core_hours": sum(e.seconds for e in every if on_cpu or not e.gpus) / 3600,
            "disk_bytes": estimator.disk_bytes(estimates),
        },
        "schedule": {
            "gpus": gpus,
            "nodes": nodes,
            "seconds": schedule.seconds,
            "idle": schedule.idle,
            "critical_seconds": sum(estimate.seconds for estimate in schedule.critical),
            "critical": [{"job": e.job.name, "seconds": e.seconds} for e in schedule.critical],
        },
    }
    return facts, schedule
