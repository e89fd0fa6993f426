"""What runs where: a small file for each job under way or failed, `results/jobs/train/photos-jpeg-palette-s0-1a2b3c4d5e.json`.

For people and for `palette status`, from any machine that sees the results folder. No stage reads them; a job that is done
leaves none.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from palette.errors import Interrupted, UserError
from palette.system.files import write_json

SCHEDULERS = ("SLURM_JOB_ID", "LSB_JOBID", "PBS_JOBID", "JOB_ID")
"""Where schedulers tell a job its number."""

SUBMITTED = "PALETTE_SUBMITTED_JOB"
"""Names the job's number in each job that the workflow has submitted to Slurm, and is unset in a job of the user's own."""


def place(results: Path, folder: str, shard: int | None = None) -> Path:
    """The file of one job. folder: the stage's, relative to the results folder."""
    return results / f"jobs/{folder}{suffix(shard)}.json"


def suffix(shard: int | None) -> str:
    """What the names of a shard's files end with: `-003`."""
    return "" if shard is None else f"-{shard:03}"


def scheduler_job() -> str | None:
    """The number that a cluster has given this job; an array's task as `17_3`."""
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    if task and "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{task}"
    return next((os.environ[name] for name in SCHEDULERS if os.environ.get(name)), None)


def record(file: Path, **facts: Any) -> None:
    """Write what a job is doing now, after where it runs. facts: JSON values."""
    here = {"host": socket.gethostname(), "pid": os.getpid(), "job": scheduler_job()}
    write_json(file, {"state": "running", **here, "seen": round(time.time(), 1), **facts})


@contextmanager
def under_way(file: Path) -> Iterator[None]:
    """Keep the file of a job while it runs; what it failed of stays there until it is tried again."""
    started = round(time.time(), 1)
    record(file, started=started)
    try:
        yield
    except BaseException as error:
        known = isinstance(error, UserError | KeyboardInterrupt)
        text = str(error) if known else f"{type(error).__name__}: {error}"
        stopped = isinstance(error, Interrupted | KeyboardInterrupt)
        with suppress(OSError):  # a full disk: why the job failed matters more
            record(file, state="stopped" if stopped else "failed", started=started, error=text)
        raise
    file.unlink(missing_ok=True)
