"""Job records: a small file for each job that is running or has failed.

They are at `results/jobs/train/photos-jpeg-palette-s0-1a2b3c4d5e.json`, for users and for `palette status`, on any
machine that sees the results folder. No stage reads them; a job that is done leaves none.
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
"""Environment variables in which schedulers give a job its number."""

SUBMITTED = "PALETTE_SUBMITTED_JOB"
"""Environment variable with the job's number in each job that the workflow has submitted to Slurm; unset in the user's
own jobs.
"""


def place(results: Path, folder: str, shard: int | None = None) -> Path:
    """Return the path of one job's file. folder: the stage's, relative to the results folder."""
    return results / f"jobs/{folder}{suffix(shard)}.json"


def suffix(shard: int | None) -> str:
    """Return the suffix of the names of a shard's files, `-003`; empty without a shard."""
    return "" if shard is None else f"-{shard:03}"


def scheduler_job() -> str | None:
    """Return the number that a cluster has given this job, `17_3` in an array; None outside a cluster."""
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    if task and "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{task}"
    return next((os.environ[name] for name in SCHEDULERS if os.environ.get(name)), None)


def record(file: Path, **facts: Any) -> None:
    """Write what a job is doing now, and where it runs. facts: further JSON values."""
    here = {"host": socket.gethostname(), "pid": os.getpid(), "job": scheduler_job()}
    write_json(file, {"state": "running", **here, "seen": round(time.time(), 1), **facts})


@contextmanager
def under_way(file: Path) -> Iterator[None]:
    """Keep the file of a job while it runs; if the job fails, its error stays there until the job is tried again."""
    started = round(time.time(), 1)
    record(file, started=started)
    try:
        yield
    except BaseException as error:
        known = isinstance(error, UserError | KeyboardInterrupt)
        text = str(error) if known else f"{type(error).__name__}: {error}"
        stopped = isinstance(error, Interrupted | KeyboardInterrupt)
        with suppress(OSError):  # such as a full disk: the job's own error matters more
            record(file, state="stopped" if stopped else "failed", started=started, error=text)
        raise
    file.unlink(missing_ok=True)
