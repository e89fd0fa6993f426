"""The whole of it: what will run, why, and what it costs, as facts (JSON values)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from palette.costs.disk import disk_bytes
from palette.costs.estimate import ON_GPU, Estimate, Estimator
from palette.costs.made import Job, Made, remaining
from palette.costs.reasons import Reasons
from palette.costs.records import Record
from palette.costs.schedule import Schedule, simulate
from palette.plan import Plan

Facts = dict[str, Any]


def planned(plan: Plan, device: str, gpus: int, nodes: int) -> tuple[Facts, Schedule]:
    """What remains to be done, on `gpus` devices of a kind. device: key of `palette.costs.gpus.GPUS`."""
    made = Made(plan.results)
    jobs = remaining(plan, made)
    estimator, reasons = Estimator.of(plan, device), Reasons(plan, made)
    estimates = {folder: [estimator.estimate(job) for job in stage] for folder, stage in jobs.items()}
    schedule = simulate(plan, [estimate for stage in estimates.values() for estimate in stage], gpus, nodes)
    facts = {
        "results": str(plan.results),
        "device": estimator.gpu.name,
        "stages": [_stage(folder, reasons.of(folder), stage) for folder, stage in estimates.items()],
        "done": len(plan.stages) - len(jobs),
        "totals": _totals(plan, estimates, device),
        "memory": [_memory(estimator, memory) for memory in estimator.memory(jobs)],
        "schedule": _schedule(schedule),
    }
    return facts, schedule


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
        "disk_bytes": disk_bytes(plan),
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
    """GPU-hours of what remains to be done."""
    estimator = Estimator.of(plan, device)
    jobs = [job for stage in remaining(plan, Made(plan.results)).values() for job in stage]
    on_gpu = [job for job in jobs if plan.stages[job.folder].runtime.gpus]
    return 0.0 if device == "cpu" else sum(estimator.estimate(job).gpu_hours for job in on_gpu)


def compared(plan: Plan, device: str) -> Facts:
    """Of each finished job of the plan that is on record: what was estimated by the records of that time, and what it took."""
    estimator = Estimator.of(plan, device)
    records = [
        record for record in estimator.history if record.spec.folder in plan.stages and estimator.comparable(record)
    ]
    return {"device": estimator.gpu.name, "jobs": [_compared(estimator, record) for record in records]}


def _compared(estimator: Estimator, record: Record) -> Facts:
    name = Path(record.card).stem
    job = Job(record.spec.folder, name.removeprefix("shard-") if name.startswith("shard-") else None)
    estimate = estimator.estimate(job, before=record.began, whole=True)
    return {
        "job": job.name,
        "kind": record.spec.kind,
        "estimated": estimate.seconds,
        "seconds": record.seconds,
        "ratio": estimate.seconds / max(record.seconds, 0.1),
        "basis": estimate.basis,
    }
