"""The Slurm job around a training: when its time ends, and how it gets more.

A time limit shorter than the training is not an error. Shortly before the limit the state is saved and the job requeues
itself; its next run continues from there. Only jobs that the workflow has submitted do so.
"""

import math
import os
import subprocess
import time
from dataclasses import dataclass, field

from palette.system.jobs import SUBMITTED
from palette.system.progress import say

SHARE, MOST = 0.1, 300.0
"""The job is nearly over when less than this share of its initial time, and less than this many seconds, are left."""


@dataclass
class Allocation:
    """A Slurm job and its time.
    job: ID of the workflow's job, or None. seconds: time left at the start, infinite without limit."""

    job: str | None = None
    seconds: float = math.inf
    began: float = field(default_factory=time.monotonic)

    @property
    def nearly_over(self) -> bool:
        return self.seconds - (time.monotonic() - self.began) < min(SHARE * self.seconds, MOST)

    def requeue(self) -> None:
        """Requeue the job. Slurm then ends this run of it with SIGTERM and, seconds later, SIGKILL."""
        say(f"the time of job {self.job} is nearly over: it goes back into the queue, and goes on from the saved state")
        self.seconds = math.inf  # do not requeue twice
        done = _ask("scontrol", "requeue", str(self.job))
        if done is None:
            say(f"job {self.job} could not be queued again; Slurm will end it, and Snakemake try it again (`retries`)")


def allocation() -> Allocation:
    """Return the job that the workflow submitted for this process. A user's own job counts as having no time limit."""
    job = os.environ.get(SUBMITTED)
    if job is None:
        return Allocation()
    return Allocation(job, seconds_of(_ask("squeue", "--noheader", "--format=%L", f"--jobs={job}") or ""))


def seconds_of(text: str) -> float:
    """Parse Slurm's `2-03:04:05`, `3:04:05` or `4:05` into seconds; infinite for anything else, such as `UNLIMITED`."""
    days, _, clock = text.strip().rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in (days or "0", *parts)):
        return math.inf
    seconds = 0.0
    for part in parts:
        seconds = 60 * seconds + int(part)
    return 86_400.0 * int(days or 0) + seconds


def _ask(*command: str) -> str | None:
    """Return the output of a Slurm command; None if it does not exist or fails."""
    try:
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=60
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        say(f"{command[0]}: {getattr(error, 'stderr', None) or error}")
        return None
