"""Requests of jobs to a cluster, the budget, and commands at the end of a run."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from palette.config.choices import OneOf, rows
from palette.config.options import Options

GpuName = Annotated[str, OneOf(rows("costs/gpus.py", "GPUS"))]
LONGEST = 1000
"""Hours: six weeks, which few clusters allow, and less than the 3600 that YAML reads for 1:00:00 without quotes."""


def _hours(value: Any) -> Any:
    """Return the hours of a number, or of a time as Slurm writes it: `24:00:00`, `2-00:00:00`."""
    if clock := re.fullmatch(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)", str(value)):
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        value = 24 * days + hours + minutes / 60 + seconds / 3600
    try:
        possible = 1 / 60 <= float(value) <= LONGEST  # Slurm takes 0 minutes for no limit
    except (TypeError, ValueError, OverflowError):
        possible = False
    if not possible:
        raise ValueError(f'must be hours, from 1/60 to {LONGEST}, or a time in quotes such as "24:00:00"')
    return value


Hours = Annotated[
    float, BeforeValidator(_hours, json_schema_input_type=Annotated[float, Field(gt=0, le=LONGEST)] | str)
]


class Request(Options):
    """Requests of jobs to a cluster. The profile's `set-resources` win over it, and it over the profile's `default-resources`."""

    partition: str | None = None
    """Slurm's partition."""
    account: str | None = None
    """The account that pays."""
    qos: str | None = None
    """Quality of service."""
    constraint: str | None = None
    """Features that a node must have: `h100`, `a100|h100`."""
    gpu_model: str | None = Field(None, pattern=r"^[A-Za-z0-9_.]+$")
    """Model of the GPUs, as the cluster calls it in `--gpus=h100:4` or `--gres=gpu:h100:4`."""
    memory_gb: float | None = Field(None, ge=0.1, le=32_768)
    """Memory of each node. Doubled at each further attempt. Default: 4 to 32 by verb; 16 per GPU for `train`."""
    hours: Hours | None = None
    """Run time: hours, or a time in quotes, `"24:00:00"` or `"2-00:00:00"`; at least a minute. A training that is not done by then
    goes on in the job's next run. Default: 1 to 24 by verb."""


class Cluster(Options):
    """How jobs ask a cluster for what they need: all of them, and those of one verb, which win."""

    gpus: Literal["gpus", "gres"] = "gpus"
    """Whether GPUs are asked for with `--gpus=4` or `--gres=gpu:4`; a training on several nodes does the latter in any case."""
    jobs: Request = Request()
    """Requests of all jobs."""
    fetch: Request = Request()
    """Jobs of `fetch`."""
    prepare: Request = Request()
    """Jobs of `prepare`."""
    mask: Request = Request()
    """Jobs of `mask`."""
    train: Request = Request()
    """Jobs of `train`."""
    sample: Request = Request()
    """Jobs of `sample`."""
    score: Request = Request()
    """Jobs of `score`, with the feature networks."""
    tabulate: Request = Request()
    """The job of `tabulate`."""
    report: Request = Request()
    """The job of `report`."""


class Hooks(Options):
    """Commands for the shell when a run of `snakemake` ends. Their environment has PALETTE_RESULTS, the results folder,
    PALETTE_PAGE, the report, and PALETTE_LOG, the run's log."""

    success: str | None = None
    """When everything is done."""
    error: str | None = None
    """When a job failed."""


class Budget(Options):
    gpu_hours: float | None = Field(None, ge=0)
    """GPU-hours that a run may take by estimate without asking. Default: any number."""
    gpu: GpuName | None = None
    """GPU that costs are told for: `h100`, `a100`, … as `palette plan --gpu` lists them. Default: this machine's."""
