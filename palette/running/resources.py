"""Resources that each job requests from Snakemake: GPUs, nodes, memory, time and, on a Slurm cluster, where it runs.

Names and meanings are those of snakemake-executor-plugin-slurm; other executors read `gpu`, `mem_mb` and `runtime`.
"""

import math
from collections.abc import Callable
from typing import Any

from palette.config.cluster import Request
from palette.planning.plan import Plan
from palette.stages.base import Spec
from palette.stages.kinds import KINDS
from palette.stages.train import TrainSpec

SLURM = {"partition": "slurm_partition", "account": "slurm_account", "qos": "qos", "constraint": "constraint"}
"""Option → the resource that the plugin reads."""
Value = int | str | None


def asked(plan: Plan, kind: str, on_slurm: Callable[[], bool]) -> dict[str, Any]:
    """Return resource → value for the jobs of one kind.

    A value may be a function of wildcards, and of the attempt if it takes one; None requests nothing. Snakemake calls
    such functions for each of thousands of jobs, so what is the same for all of them is a number, and what none of them
    may have is left out. on_slurm: returns, when a job is about to start, whether Slurm runs it.
    """
    request, usual, specs = merged(plan, kind), KINDS[kind].usual, plan.of_kind(kind)
    hours, dialect = request.hours or usual.hours, plan.config.cluster.gpus
    several = any(map(of_several_nodes, specs))

    def of_stage(wildcards: Any) -> Spec:
        """Return the job's stage; for `tabulate` and `report`, which have no wildcard, the first of its kind."""
        return plan.stages[f"{kind}/{wildcards.stage}"] if "stage" in wildcards.keys() else specs[0]  # noqa: SIM118

    def memory(wildcards: Any, attempt: int) -> int:
        devices = max(of_stage(wildcards).runtime.gpus, 1) if kind == "train" else 1
        return round(1000 * (request.memory_gb or usual.memory_gb * devices) * 2.0 ** (attempt - 1))

    def of_gpus(name: str) -> Callable[..., Value]:
        return lambda wildcards: gpus(of_stage(wildcards), dialect, request.gpu_model, on_slurm())[name]

    def of_nodes(name: str) -> Callable[..., Value]:
        return lambda wildcards: nodes(of_stage(wildcards))[name] if on_slurm() else None

    found: dict[str, Any] = {
        "mem_mb": memory,
        "runtime": math.ceil(round(60 * hours, 3)),  # rounded first: 60 * (31 / 60) is above 31
        **{name: getattr(request, option) for option, name in SLURM.items() if getattr(request, option)},
    }
    counts, gres = {spec.runtime.gpus for spec in specs}, several or dialect == "gres"
    if any(counts):
        found["gpu"] = counts.pop() if len(counts) == 1 and not gres else of_gpus("gpu")
        found |= {"gpu_model": of_gpus("gpu_model")} if request.gpu_model else {}
        found |= {"gres": of_gpus("gres")} if gres else {}
    names = ("nodes", "tasks", "tasks_per_gpu", "mpi") if several else ("nodes",)
    return found | {name: of_nodes(name) for name in names}


def merged(plan: Plan, kind: str) -> Request:
    """Return what the config requests for the jobs of one kind, with the options for all jobs as defaults."""
    cluster = plan.config.cluster
    own: Request = getattr(cluster, KINDS[kind].verb, Request())
    return cluster.jobs.model_copy(update=own.model_dump(exclude_none=True))


def gpus(spec: Spec, dialect: str, model: str | None, on_slurm: bool) -> dict[str, Value]:
    """Return a stage's GPU resources: a number for Snakemake and `--gpus`, or Slurm's `--gres`, counted per node."""
    count = spec.runtime.gpus
    if not (on_slurm and count and (dialect == "gres" or of_several_nodes(spec))):
        return {"gpu": count or None, "gpu_model": model if on_slurm and count else None, "gres": None}
    return {"gpu": None, "gpu_model": None, "gres": ":".join(filter(None, ("gpu", model, str(count))))}


def nodes(spec: Spec) -> dict[str, Value]:
    """Return the node resources. With several, the job's command starts a task on each by `srun`, as `mpi` allows."""
    count = nodes_of(spec)
    if count == 1:
        return {"nodes": 1, "tasks": None, "tasks_per_gpu": None, "mpi": None}
    return {"nodes": count, "tasks": count, "tasks_per_gpu": 0, "mpi": "srun"}


def nodes_of(spec: Spec) -> int:
    return spec.runtime.nodes if isinstance(spec, TrainSpec) else 1


def of_several_nodes(spec: Spec) -> bool:
    return nodes_of(spec) > 1


def launcher(spec: Spec, in_job: bool) -> str:
    """Return a prefix for a stage's command: `srun` for a training on several nodes inside its Slurm job, or empty."""
    count = nodes_of(spec)
    if count == 1 or not in_job:
        return ""
    return f"srun --nodes={count} --ntasks={count} --ntasks-per-node=1 --cpus-per-task={spec.runtime.threads} --kill-on-bad-exit=1"
