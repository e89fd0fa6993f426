"""Forecast of a run as text: what will run, why, for how much, and what a change of code throws away."""

import json
from collections.abc import Collection

from palette.costs import text
from palette.costs.gpus import GPUS, here
from palette.costs.losses import losses
from palette.costs.summary import costed, enough, planned
from palette.costs.truth import truth
from palette.errors import ConfigError
from palette.planning.plan import Plan
from palette.planning.remaining import Job, jobs_of


def report(
    plan: Plan,
    gpu: str | None = None,
    gpus: int | None = None,
    nodes: int = 1,
    done: bool = False,
    as_json: bool = False,
) -> str:
    """Return the report of `palette plan`, whose options these are. Raises ConfigError for those that do not fit."""
    if done:
        found = truth(plan, device_of(plan, gpu) if gpu else None)
        return json.dumps(found.facts(), indent=1) if as_json else text.compared(found)
    device = device_of(plan, gpu)
    gpus = enough(plan, device) if gpus is None else gpus
    if gpus < 1 or nodes < 1 or gpus % nodes:
        raise ConfigError(f"--gpus {gpus} --nodes {nodes}: each node has as many GPUs, one at least.")
    facts, _ = planned(plan, device, gpus, nodes)
    return json.dumps(facts, indent=1) if as_json else text.planned(facts)


def brief(plan: Plan, files: Collection[str], gpus: int | None) -> str:
    """Return the cost of the jobs that make any of `files`, if there are any. gpus: None for those of the largest job."""
    jobs, device = _jobs_that_make(plan, files), device_of(plan)
    if not jobs:
        return ""
    return lost(plan, files) + text.briefly(costed(plan, device, gpus or enough(plan, device), jobs))


def lost(plan: Plan, files: Collection[str]) -> str:
    """Return what a code change throws away of the trainings that make any of `files`; empty if nothing."""
    return "\n".join(text.lost(losses(plan, _jobs_that_make(plan, files), device_of(plan))))


def _jobs_that_make(plan: Plan, files: Collection[str]) -> dict[str, list[Job]]:
    """Return the jobs whose first output is in `files`, by the folder of their stage."""

    def runs(job: Job) -> bool:
        return str(plan.results / plan.outputs(job.folder, job.shard)[0]) in files

    return {folder: stage for folder in plan.stages if (stage := [job for job in jobs_of(plan, folder) if runs(job)])}


def device_of(plan: Plan, requested: str | None = None) -> str:
    """Return the key in `GPUS` of the requested device, or of the one in the config's budget, or of this machine's."""
    budget = plan.config.budget
    name = requested or (budget.gpu if budget and budget.gpu else here())
    if name not in GPUS:
        raise ConfigError(f"--gpu {name}: not in the table. It has {', '.join(GPUS)}.")
    return name
