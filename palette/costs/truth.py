"""Actual times of finished jobs, compared with the estimates that `palette plan` would give for them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from palette.costs.estimate import Estimator
from palette.costs.gpus import GPUS, key_of
from palette.costs.records import Record, records
from palette.planning.plan import Plan
from palette.planning.remaining import Job, Made, remaining
from palette.stages.kinds import KINDS
from palette.stages.train import TrainSpec
from palette.system.files import write_text
from palette.system.units import duration

PAGE = "cost.html"
"""File next to the report's `index.html`, which links to it."""


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
    job: str = ""
    basis: str = ""
    """Source of the estimate."""

    @property
    def ratio(self) -> float:
        """Estimated divided by actual seconds."""
        return self.estimated / max(self.seconds, 0.1)


@dataclass(frozen=True)
class Truth:
    """Finished jobs of one plan."""

    jobs: Sequence[Done]
    left: int
    """Number of jobs still to be done."""
    unknown: Mapping[str, int]
    """Device that the table of GPUs lacks → number of jobs that ran on it, for which there is no estimate."""

    @property
    def trainings(self) -> list[Done]:
        return [job for job in self.jobs if job.kind == "train"]

    @property
    def total(self) -> Done:
        return together(self.jobs, "all", "")

    @property
    def lines(self) -> list[tuple[Done, list[Done]]]:
        """Jobs of each kind on each device: together, and one by one."""
        kinds = list(KINDS)
        groups: dict[tuple[str, str], list[Done]] = {}
        for job in sorted(self.jobs, key=lambda job: kinds.index(job.kind)):
            groups.setdefault((job.kind, job.device), []).append(job)
        return [(together(jobs, *key), jobs) for key, jobs in groups.items()]

    def facts(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        jobs = [{**asdict(job), "ratio": job.ratio} for job in self.jobs]
        return {"jobs": jobs, "left": self.left, "unknown": dict(self.unknown)}


def together(jobs: Sequence[Done], kind: str, device: str) -> Done:
    """Return the sums over `jobs`."""
    numbers = ("estimated", "seconds", "estimated_gpu_hours", "gpu_hours")
    return Done(kind, device, *(sum(getattr(job, number) for job in jobs) for number in numbers))


def truth(plan: Plan, device: str | None = None) -> Truth:
    """Return the finished jobs of a plan in the order in which they finished.

    Their estimates are corrected by the records of other stages alone: no job of the plan corrects another. device: a
    key of `GPUS`, to select the jobs on it; None for all jobs.
    """
    history = records(plan.results, newest=None)
    own = [(record, key_of(record.device)) for record in history if record.spec.folder in plan.stages]
    others = [record for record in history if record.spec.folder not in plan.stages]
    estimators = {key: Estimator(plan, key, history=others) for key in GPUS if any(found == key for _, found in own)}
    finished = {record.spec.folder: record for record, _ in own}
    jobs = [
        _done(estimators[key], record, finished) for record, key in own if key is not None and device in (None, key)
    ]
    left = sum(map(len, remaining(plan, Made(plan.results)).values()))
    return Truth(jobs, left, Counter(record.device for record, key in own if key is None))


def _done(estimator: Estimator, record: Record, finished: Mapping[str, Record]) -> Done:
    """Return a record next to its estimate.

    finished: folder of a stage → its record. Of a training, the part that a shorter one has done is left out.
    """
    spec, steps, seconds = estimator.plan.stages[record.spec.folder], 0, record.seconds
    shorter = finished.get(spec.runtime.after or "") if isinstance(spec, TrainSpec) else None
    if shorter and isinstance(shorter.spec, TrainSpec) and shorter.finished <= record.finished:
        steps, seconds = shorter.spec.steps, record.seconds - shorter.seconds
    estimate = estimator.estimate(Job(spec.folder, record.shard), done=steps)
    on_gpu = estimator.device != "cpu"
    return Done(
        kind=spec.kind,
        device=estimator.gpu.name,
        estimated=estimate.seconds,
        seconds=seconds,
        estimated_gpu_hours=estimate.gpu_hours if on_gpu else 0.0,
        gpu_hours=seconds * record.devices / 3600 if on_gpu else 0.0,
        job=estimate.job.name,
        basis=estimate.basis,
    )


def write_page(plan: Plan) -> Path:
    """Write the page on all finished jobs of `plan` next to the report; return its path.

    It is written when a run ends, because no stage can know about its own run.
    """
    path = plan.results / plan.report.folder / PAGE
    write_text(path, render(plan.report.title, truth(plan)))
    return path


def render(title: str, found: Truth) -> str:
    """Return the page as HTML."""
    from palette.publish.pages.templating import template  # here, because jinja2 is slow to import

    return template("cost.html", "palette.costs").render(title=title, truth=found, duration=duration)
