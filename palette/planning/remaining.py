"""Files of a plan that exist already, jobs that remain, and the files that they wait for."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from palette.planning.plan import Plan
from palette.stages.train import TrainSpec


class Made:
    """Existing files of a results folder. Each of its folders is listed once, however many files are looked up."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self._names: dict[str, frozenset[str]] = {}

    def __contains__(self, file: str) -> bool:
        """Return whether a file exists. file: path relative to the results folder."""
        folder, _, name = file.rpartition("/")
        return name in self.names(folder)

    def names(self, folder: str) -> frozenset[str]:
        """Return the names of the files in a folder; none if the folder does not exist."""
        if folder not in self._names:
            try:
                with os.scandir(self.results / folder) as entries:
                    self._names[folder] = frozenset(entry.name for entry in entries if entry.is_file())
            except (FileNotFoundError, NotADirectoryError):
                self._names[folder] = frozenset()
        return self._names[folder]


@dataclass(frozen=True)
class Job:
    """One Snakemake job: a stage, or a shard of one."""

    folder: str
    shard: str | None = None

    @property
    def name(self) -> str:
        return f"{self.folder}, shard {self.shard}" if self.shard else self.folder


def jobs_of(plan: Plan, folder: str) -> list[Job]:
    """Return all jobs of a stage."""
    return [Job(folder, shard) for shard in plan.stages[folder].jobs]


def done(plan: Plan, made: Made, job: Job) -> bool:
    """Return whether all files of a job exist."""
    return all(file in made for file in plan.outputs(job.folder, job.shard))


class Waits:
    """Files that each job of a plan waits for, given the present contents of the results folder."""

    def __init__(self, plan: Plan, made: Made) -> None:
        self.plan, self.made = plan, made
        self._missing: dict[str, list[str]] = {}
        """Card → missing files among those that were written with it."""
        for folder in plan.stages:
            for job in jobs_of(plan, folder):
                *files, card = plan.outputs(folder, job.shard)
                if card in made and (missing := [file for file in files if file not in made]):
                    self._missing[card] = missing

    def inputs(self, folder: str, shard: str | None = None, again: bool = False) -> list[str]:
        """Return the files that the job of a stage waits for. again: the job runs even if it is done.

        Snakemake makes a missing input again and then runs whatever waits for it. So a job that is done names only
        those of its inputs that exist: others may be deleted, and are made again when a job that is not done needs
        them. A job that is not done also waits for files that are missing next to an existing card.
        """
        files = self.plan.inputs(folder, shard)
        if not again and done(self.plan, self.made, Job(folder, shard)):
            return [file for file in files if file in self.made]
        missing = [file for card in files for file in self._missing.get(card, ())]
        return list(dict.fromkeys(files + missing)) if missing else files


def remaining(plan: Plan, made: Made) -> dict[str, list[Job]]:
    """Return the jobs that a plain `snakemake` would run: folder of the stage → its jobs; only stages with some.

    These are the report, if it is not done, and the jobs that make missing files for any of these jobs.
    """
    waits, jobs = Waits(plan, made), {folder: jobs_of(plan, folder) for folder in plan.stages}
    makers = {file: job for stage in jobs.values() for job in stage for file in plan.outputs(job.folder, job.shard)}
    running: set[Job] = set()
    waiting = [job for job in jobs[plan.report.folder] if not done(plan, made, job)]
    while waiting:
        job = waiting.pop()
        if job not in running:
            running.add(job)
            waiting += [makers[file] for file in waits.inputs(job.folder, job.shard) if file not in made]
    left = {folder: [job for job in stage if job in running] for folder, stage in jobs.items()}
    return {folder: stage for folder, stage in left.items() if stage}


def last_state(results: Path, spec: TrainSpec) -> int:
    """Return the step from which a training would resume; 0 without a saved state."""
    return newest_step(results / "state" / spec.state_key, spec.steps)


def newest_step(state: Path, last: int) -> int:
    """Return the newest step, up to step `last`, of which folder `state` has a saved state; 0 if there is none."""
    names = (re.fullmatch(r"step-(\d+)\.pt", file.name) for file in state.glob("step-*.pt"))
    return max((step for name in names if name and (step := int(name[1])) <= last), default=0)
