"""What of a plan is made already, and which jobs remain."""

import os
from dataclasses import dataclass
from pathlib import Path

from palette.graph import SHARD_ARTIFACTS
from palette.plan import Plan


class Made:
    """The files of a results folder: one look at each of its folders, however many files are asked for."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self._names: dict[str, frozenset[str]] = {}

    def __contains__(self, file: str) -> bool:
        """file: path relative to the results folder."""
        folder, _, name = file.rpartition("/")
        return name in self.names(folder)

    def names(self, folder: str) -> frozenset[str]:
        """Names of the files in a folder; none if it is not there."""
        if folder not in self._names:
            self._names[folder] = self._list(folder)
        return self._names[folder]

    def _list(self, folder: str) -> frozenset[str]:
        try:
            with os.scandir(self.results / folder) as entries:
                return frozenset(entry.name for entry in entries if entry.is_file())
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()


@dataclass(frozen=True)
class Job:
    """One job of Snakemake's: a stage, or a shard of one."""

    folder: str
    shard: str | None = None

    @property
    def name(self) -> str:
        return f"{self.folder}, shard {self.shard}" if self.shard else self.folder


def jobs_of(plan: Plan, folder: str) -> list[Job]:
    """All jobs of a stage."""
    spec = plan.stages[folder]
    return [Job(folder, shard) for shard in (plan.shards(spec) if spec.kind in SHARD_ARTIFACTS else [None])]


def remaining(plan: Plan, made: Made) -> dict[str, list[Job]]:
    """The jobs that Snakemake would run: folder of the stage → those with a file that is not there; only stages with some."""
    found: dict[str, list[Job]] = {}
    for folder in plan.stages:
        jobs = [job for job in jobs_of(plan, folder) if not done(plan, made, job)]
        if jobs:
            found[folder] = jobs
    return found


def done(plan: Plan, made: Made, job: Job) -> bool:
    """Whether all files of a job are there."""
    return all(file in made for file in plan.outputs(job.folder, job.shard))
