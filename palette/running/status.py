"""Status of jobs, read only from files in a results folder: on any machine that sees it, whoever runs the workflow.

The stages are those of the last run: the report and all that it is made from. A job is finished when its card exists. A
job that is running or has failed has a file in `jobs/` (palette/system/jobs.py), and a training a heartbeat in its
state folder.
"""

import os
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from palette.errors import DataError
from palette.stages.base import Spec
from palette.stages.reading import read_spec
from palette.stages.train import TrainSpec
from palette.system.files import read_json
from palette.system.jobs import place, suffix
from palette.system.progress import clock

STATES = ("running", "failed", "stopped", "lost", "waiting", "finished")
"""States of jobs. `stopped`: by Ctrl-C or another signal. `lost`: ended without an error message, as after `kill -9`,
or silent for `SILENCE`.
"""
SILENCE = 600.0
"""Seconds without a heartbeat after which a training on another machine counts as lost."""


def of_results(results: Path, now: float | None = None) -> dict[str, Any]:
    """Return counts of jobs by state, and facts on those under way or failed. Raises DataError if no run has begun."""
    now = time.time() if now is None else now
    jobs = [job for spec in stages(results) for job in jobs_of(results, spec, now)]
    kinds = {state: Counter(job["kind"] for job in jobs if job["state"] == state) for state in STATES}
    return {
        "results": str(results),
        "counts": {state: count.total() for state, count in kinds.items()},
        "waiting": dict(kinds["waiting"]),
        "finished": dict(kinds["finished"]),
        "jobs": [job for job in jobs if job["state"] not in ("waiting", "finished")],
        "gpu_hours": round(sum(job.get("gpu_hours", 0.0) for job in jobs), 4),
    }


def stages(results: Path) -> list[Spec]:
    """Return the stages of the last run, parents first. Raises DataError if no run has begun."""
    file = results / "report/spec.yaml"
    if not file.exists():
        raise DataError(
            f"{results}: no run has begun here; `snakemake` writes {file} when it starts. Name the folder with -r."
        )
    found: dict[str, Spec] = {}

    def visit(folder: str) -> None:
        spec_file = results / folder / "spec.yaml"
        if folder not in found and spec_file.exists():
            spec = read_spec(spec_file)
            for parent in spec.awaited:
                visit(parent)
            found[folder] = spec

    visit("report")
    return list(found.values())


def jobs_of(results: Path, spec: Spec, now: float) -> Iterator[dict[str, Any]]:
    """Yield one entry for each job of a stage: kind, name, shard, stage and state, and what else is known of it."""
    for name in spec.jobs:
        shard = int(name) if name else None
        job: dict[str, Any] = {"kind": spec.kind, "name": spec.name, "shard": shard, "stage": spec.folder}
        card = results / spec.written(name)[-1]  # written last; it stays when files are deleted to free space
        if not card.exists():
            job |= under_way(results, spec, shard, now)
        else:
            job["state"] = "finished"
            if isinstance(spec, TrainSpec):
                job["gpu_hours"] = read_if_there(card).get("gpu_hours", 0.0)
        yield job


def under_way(results: Path, spec: Spec, shard: int | None, now: float) -> dict[str, Any]:
    """Return what is known of a job that is not finished; for a training, including its progress."""
    record, beat = read_if_there(place(results, spec.folder, shard)), {}
    if isinstance(spec, TrainSpec):
        beat = read_if_there(results / "state" / spec.state_key / "heartbeat.json")
    if beat.get("stage") != spec.folder:  # from a longer or shorter training with the same state
        beat = {}
    if not record:
        return {**beat, "state": "waiting"}
    seen = max(record["seen"], beat.get("seen", 0.0))
    log = results / f"logs/{spec.folder}{suffix(shard)}.log"
    return {**record, **beat, "seen": seen, "log": str(log), "state": state_of(record, seen if beat else None, now)}


def read_if_there(file: Path) -> dict[str, Any]:
    """Return the content of a small JSON file; empty if it is missing or unreadable."""
    try:
        return dict(read_json(file))
    except DataError:
        return {}


def state_of(record: Mapping[str, Any], beat: float | None, now: float) -> str:
    """Return the state in a job's file, unless its process is known to be gone. beat: time of the last heartbeat."""
    if record["state"] != "running":
        return str(record["state"])
    if record["host"] == socket.gethostname():
        return "running" if alive(record["pid"]) else "lost"
    return "lost" if beat is not None and now - beat > SILENCE else "running"


def alive(pid: int) -> bool:
    """Return whether a process of this machine is running."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def text(status: Mapping[str, Any], now: float | None = None) -> str:
    """Return the status as text."""
    now = time.time() if now is None else now
    counts = status["counts"]
    parts = [f"{counts[state]} {state}" for state in STATES if counts[state]]
    lines = [f"{status['results']}: {sum(counts.values())} jobs, {', '.join(parts)}"]
    for state in ("running", "failed", "stopped", "lost"):
        jobs = [job for job in status["jobs"] if job["state"] == state]
        lines += ["", state] if jobs else []
        lines += [f"  {line}" for job in jobs for line in job_lines(job, now)]
    for state in ("waiting", "finished"):
        if status[state]:
            lines += ["", f"{state}: {', '.join(f'{count} {kind}' for kind, count in status[state].items())}"]
    if status["gpu_hours"]:
        lines += ["", f"GPU-hours of trainings so far: {status['gpu_hours']:.2f}"]
    return "\n".join(lines)


def job_lines(job: Mapping[str, Any], now: float) -> list[str]:
    """Return lines like `train photos-s0: 700/1100 steps (64%), 102 images/s, 1:20 left, …`; then its error and log."""
    name = f"{job['kind']} {job['name']}" + ("" if job["shard"] is None else f", shard {job['shard']}")
    where = f"{job['host']}, process {job['pid']}" + (f", job {job['job']}" if job.get("job") else "")
    line = ", ".join([*training(job, now), where, f"started {clock(now - job['started'])} ago"])
    if job["state"] == "running":
        return [f"{name}: {line}"]
    why = [f"  {row}" for row in str(job.get("error") or "ended without an error message").splitlines()]
    return [f"{name}: {line}", *why, f"  log: {job['log']}"]


def training(job: Mapping[str, Any], now: float) -> list[str]:
    """Return the progress of a training; empty if it has reported none."""
    if "step" not in job:
        return []
    found = [f"{job['step']}/{job['steps']} steps ({job['step'] / job['steps']:.0%})"]
    if job["images_per_second"]:
        found += [f"{job['images_per_second']:g} images/s", f"{clock(job['seconds_left'])} left"]
    if job["checkpoint"]:
        found.append(f"saved at step {job['checkpoint']['step']}, {clock(now - job['checkpoint']['time'])} ago")
    if job["devices"] > 1 or job["gpu_hours"]:
        found.append(f"{job['devices']} × {job['device']}")
    if job["gpu_hours"]:
        found.append(f"{job['gpu_hours']:.2f} GPU-hours")
    return found
