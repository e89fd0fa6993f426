"""Summary of a plan: what will run, why, and its cost, as JSON values."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from palette.costs.disk import disk_bytes
from palette.costs.estimate import ON_GPU, Estimate, Estimator, asked_devices
from palette.costs.losses import losses
from palette.costs.reasons import Reasons
from palette.costs.schedule import Schedule, simulate
from palette.planning.plan import Plan
from palette.planning.remaining import Job, Made, remaining

Facts = dict[str, Any]


def planned(plan: Plan, device: str, gpus: int, nodes: int) -> tuple[Facts, Schedule]:
    """Return the summary of the remaining jobs, and their schedule on `gpus` devices.

    device: a key of `palette.costs.gpus.GPUS`.
    """
    made = Made(plan.results)
    jobs = remaining(plan, made)
    estimator, reasons = Estimator.of(plan, device, gpus), Reasons(plan, made)
    estimates = {folder: [estimator.estimate(job) for job in stage] for folder, stage in jobs.items()}
    schedule = simulate(plan, [estimate for stage in estimates.values() for estimate in stage], gpus, nodes)
    facts = {
        "stages": [_stage(folder, reasons.of(folder), stage) for folder, stage in estimates.items()],
        "done": len(plan.stages) - len(jobs),
        "losses": losses(plan, jobs, device),
        "memory": [_memory(estimator, memory) for memory in estimator.memory(jobs)],
        **_costs(estimator, estimates, schedule),
    }
    return facts, schedule


def costed(plan: Plan, device: str, gpus: int, jobs: Mapping[str, Sequence[Job]]) -> Facts:
    """Return the cost of `jobs` without reasons and memory, which are slow to compute.

    jobs: folder of a stage → its jobs.
    """
    estimator = Estimator.of(plan, device, gpus)
    estimates = {folder: [estimator.estimate(job) for job in stage] for folder, stage in jobs.items()}
    schedule = simulate(plan, [estimate for stage in estimates.values() for estimate in stage], gpus)
    return _costs(estimator, estimates, schedule)


def enough(plan: Plan, device: str) -> int:
    """Return the GPUs that the largest job of a plan requests, at least 1; for `cpu`, this machine's cores."""
    if device == "cpu":
        return os.cpu_count() or 1
    return max(1, *(asked_devices(spec, device) for spec in plan.stages.values()))


def _costs(estimator: Estimator, estimates: Mapping[str, Sequence[Estimate]], schedule: Schedule) -> Facts:
    return {
        "results": str(estimator.plan.results),
        "device": estimator.gpu.name,
        "totals": _totals(estimator.plan, estimates, estimator.device),
        "schedule": _schedule(schedule),
    }


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


def _totals(plan: Plan, estimates: Mapping[str, Sequence[Estimate]], device: str) -> Facts:
    every = [estimate for stage in estimates.values() for estimate in stage]
    on_gpu = [estimate for estimate in every if estimate.kind in ON_GPU]
    return {
        "jobs": len(every),
        "flops": sum(estimate.flops for estimate in every),
        "gpu_hours": 0.0 if device == "cpu" else sum(estimate.gpu_hours for estimate in on_gpu),
        "core_hours": sum(e.seconds for e in every if device == "cpu" or not e.gpus) / 3600,
        "disk_bytes": disk_bytes(plan, estimates),
    }


def _memory(estimator: Estimator, memory: Any) -> Facts:
    return {**asdict(memory), "needed": memory.needed, "device": estimator.gpu.memory}


def _schedule(schedule: Schedule) -> Facts:
    return {
        "gpus": schedule.gpus,
        "nodes": schedule.nodes,
        "seconds": schedule.seconds,
        "idle": schedule.idle,
        "critical_seconds": sum(estimate.seconds for estimate in schedule.critical),
        "critical": [{"job": e.job.name, "seconds": e.seconds} for e in schedule.critical],
    }


def gpu_hours(plan: Plan, device: str) -> float:
    """Return the GPU-hours of the remaining jobs; 0 for `cpu`."""
    estimator = Estimator.of(plan, device)
    jobs = [job for stage in remaining(plan, Made(plan.results)).values() for job in stage]
    on_gpu = [job for job in jobs if plan.stages[job.folder].runtime.gpus]
    return 0.0 if device == "cpu" else sum(estimator.estimate(job).gpu_hours for job in on_gpu)
