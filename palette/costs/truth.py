"""Actual times of finished jobs, compared with the estimates of `palette plan` just before the runs that made them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from palette.costs import runs
from palette.costs.estimate import Estimator
from palette.costs.gpus import GPUS, key_of
from palette.costs.records import Record, records
from palette.planning.plan import Plan
from palette.planning.remaining import Job, Made, remaining
from palette.stages.kinds import KINDS
from palette.stages.train import TrainSpec


@dataclass(frozen=True)
class Done:
    """Estimated and actual times of one finished job, or of several together."""

    kind: str
    device: str
    estimated: float
    """Estimated seconds."""
    seconds: float
    """Actual seconds."""
    estimated_gpu_hours: float
    gpu_hours: float
    """Actual GPU-hours; 0 on a CPU."""

    @property
    def ratio(self) -> float:
        """Estimated divided by actual seconds."""
        return self.estimated / max(self.seconds, 0.1)


@dataclass(frozen=True)
class DoneJob(Done):
    """Estimated and actual times of one finished job."""

    job: str
    basis: str
    """Source of the estimate."""


@dataclass(frozen=True)
class Truth:
    """Finished jobs of one plan."""

    jobs: Sequence[DoneJob]
    left: int
    """Number of jobs still to be done."""
    unknown: Mapping[str, int]
    """Device that the table of GPUs lacks → number of jobs that ran on it, for which there is no estimate."""

    @property
    def trainings(self) -> list[DoneJob]:
        return [job for job in self.jobs if job.kind == "train"]

    @property
    def lines(self) -> list[tuple[Done, list[DoneJob]]]:
        """Jobs of each kind on each device: together, and one by one."""
        kinds = list(KINDS)
        groups: dict[tuple[str, str], list[DoneJob]] = {}
        for job in sorted(self.jobs, key=lambda job: kinds.index(job.kind)):
            groups.setdefault((job.kind, job.device), []).append(job)
        return [(together(jobs, *key), jobs) for key, jobs in groups.items()]

    def facts(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        jobs = [{**asdict(job), "ratio": job.ratio} for job in self.jobs]
        return {"jobs": jobs, "left": self.left, "unknown": dict(self.unknown)}


def together(jobs: Sequence[Done], kind: str, device: str) -> Done:
    """Return the sums over `jobs`."""

    def total(of: Callable[[Done], float]) -> float:
        return sum(map(of, jobs))

    return Done(
        kind=kind,
        device=device,
        estimated=total(lambda job: job.estimated),
        seconds=total(lambda job: job.seconds),
        estimated_gpu_hours=total(lambda job: job.estimated_gpu_hours),
        gpu_hours=total(lambda job: job.gpu_hours),
    )


def truth(plan: Plan, device: str | None = None) -> Truth:
    """Return the finished jobs of a plan in the order in which they finished.

    device: a key of `GPUS`, to select the jobs on it; None for all jobs.
    """
    history = records(plan.results, newest=None)
    own = [(record, key_of(record.device)) for record in history if record.spec.folder in plan.stages]
    estimators = {key: Estimator(plan, key, history=history) for key in GPUS if any(found == key for _, found in own)}
    begun, shorter = runs.beginnings(plan.results), _continued(plan, [record for record, _ in own])
    jobs = [
        _done(estimators[key], record, runs.of_job(begun, record.began), shorter.get(record.spec.folder))
        for record, key in own
        if key is not None and device in (None, key)
    ]
    left = sum(map(len, remaining(plan, Made(plan.results)).values()))
    return Truth(jobs, left, Counter(record.device for record, key in own if key is None))


def _continued(plan: Plan, done: Iterable[Record]) -> dict[str, Record]:
    """Return folder of a training → the shorter one that it continued, whose time is part of its own."""
    trained = {record.spec.folder: record for record in done if isinstance(record.spec, TrainSpec)}
    found = {}
    for folder, record in trained.items():
        spec = plan.stages[folder]
        shorter = trained.get(spec.runtime.after or "") if isinstance(spec, TrainSpec) else None
        if shorter and shorter.finished <= record.finished:
            found[folder] = shorter
    return found


def _done(estimator: Estimator, record: Record, before: datetime, shorter: Record | None) -> DoneJob:
    """Return a record together with its estimate.

    before: when the run began. shorter: the training that this one continued, whose part is left out.
    """
    job = Job(record.spec.folder, record.shard)
    steps = shorter.spec.steps if shorter and isinstance(shorter.spec, TrainSpec) else 0
    estimate = estimator.estimate(job, before, done=steps)
    seconds = record.seconds - (shorter.seconds if shorter else 0)
    on_gpu = estimator.device != "cpu"
    return DoneJob(
        kind=estimate.kind,
        device=estimator.gpu.name,
        estimated=estimate.seconds,
        seconds=seconds,
        estimated_gpu_hours=estimate.gpu_hours if on_gpu else 0.0,
        gpu_hours=seconds * record.devices / 3600 if on_gpu else 0.0,
        job=job.name,
        basis=estimate.basis,
    )
