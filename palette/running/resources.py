"""Resources that each job requests from Snakemake: GPUs, nodes, memory, time and, on a Slurm cluster, where it runs.

Names and meanings are those of snakemake-executor-plugin-slurm; other executors read `gpu`, `mem_mb` and `runtime`.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from palette.config.cluster import Request
from palette.planning.plan import Plan
from palette.stages.base import Spec
from palette.stages.kinds import KINDS
from palette.stages.train import TrainSpec

SLURM: Mapping[str, str] = {
    "partition": "slurm_partition",
    "account": "slurm_account",
    "qos": "qos",
    "constraint": "constraint",
}
"""Option → the resource that the plugin reads."""

Value = int | str | None
Resource = Callable[..., Value]


def asked(plan: Plan, kind: str, on_slurm: Callable[[], bool]) -> dict[str, Any]:
    """Return resource → value for the jobs of one kind.

    A value may be a function of wildcards, and of the attempt if it takes one; None requests nothing. on_slurm:
    returns, when a job is about to start, whether Slurm runs it.
    """
    request = merged(plan, kind)
    usual = KINDS[kind].usual
    gb, hours = request.memory_gb, request.hours or usual.hours

    def of_stage(wildcards: Any) -> Spec:
        """Return the job's stage; for `tabulate` and `report`, which have no wildcard, the first of its kind."""
        return plan.stages[f"{kind}/{wildcards.stage}"] if "stage" in wildcards.keys() else plan.of_kind(kind)[0]  # noqa: SIM118

    def memory(wildcards: Any, attempt: int) -> int:
        each = gb or usual.memory_gb * (max(of_stage(wildcards).runtime.gpus, 1) if kind == "train" else 1)
        return round(1000 * each * 2.0 ** (attempt - 1))

    counts = {spec.runtime.gpus for spec in plan.of_kind(kind)}

    def of_gpus(name: str) -> Resource | int:
        """Return a number if all jobs of a kind request the same number in the same way, else a function.

        A number is faster, because Snakemake calls a function for each of thousands of jobs.
        """
        if name == "gpu" and "gres" not in named and len(counts) == 1:
            return next(iter(counts))
        return lambda wildcards: gpus(of_stage(wildcards), plan.config.cluster.gpus, request.gpu_model, on_slurm())[
            name
        ]

    def of_nodes(name: str) -> Resource:
        return lambda wildcards: nodes(of_stage(wildcards))[name] if on_slurm() else None

    where = {resource: getattr(request, option) for option, resource in SLURM.items() if getattr(request, option)}
    named = _named(plan, kind, request)
    return {
        "mem_mb": memory,
        "runtime": math.ceil(round(60 * hours, 3)),  # rounded first: 60 * (31 / 60) is above 31
        **where,
        **{name: of_gpus(name) for name in ("gpu", "gpu_model", "gres") if name in named},
        **{name: of_nodes(name) for name in ("nodes", "tasks", "tasks_per_gpu", "mpi") if name in named},
    }


def _named(plan: Plan, kind: str, request: Request) -> set[str]:
    """Return the resources that jobs of this kind may have at all.

    Snakemake evaluates each of them for each of thousands of jobs.
    """
    specs = plan.of_kind(kind)
    named, several = {"nodes"}, any(map(of_several_nodes, specs))
    if any(spec.runtime.gpus for spec in specs):
        named |= {"gpu"} | ({"gpu_model"} if request.gpu_model else set())
        named |= {"gres"} if several or plan.config.cluster.gpus == "gres" else set()
    return named | ({"tasks", "tasks_per_gpu", "mpi"} if several else set())


def merged(plan: Plan, kind: str) -> Request:
    """Return what the config requests for the jobs of one kind, with the options for all jobs as defaults."""
    cluster = plan.config.cluster
    own: Request = getattr(cluster, KINDS[kind].verb)
    return cluster.jobs.model_copy(update=own.model_dump(exclude_none=True))


def gpus(spec: Spec, dialect: str, model: str | None, on_slurm: bool) -> dict[str, Value]:
    """Return a stage's GPU resources: a number for Snakemake and `--gpus`, or Slurm's `--gres`, counted per node."""
    count = spec.runtime.gpus
    if not (on_slurm and count and (dialect == "gres" or of_several_nodes(spec))):
        return {"gpu": count or None, "gpu_model": model if on_slurm and count else None, "gres": None}
    return {"gpu": None, "gpu_model": None, "gres": ":".join(filter(None, ("gpu", model, str(count))))}


def nodes(spec: Spec) -> dict[str, Value]:
    """Return the node resources of a stage.

    With several nodes, the job's command starts one task on each with `srun`, which `mpi` leaves to it.
    """
    if not of_several_nodes(spec):
        return {"nodes": 1, "tasks": None, "tasks_per_gpu": None, "mpi": None}
    assert isinstance(spec, TrainSpec)
    return {"nodes": spec.runtime.nodes, "tasks": spec.runtime.nodes, "tasks_per_gpu": 0, "mpi": "srun"}


def of_several_nodes(spec: Spec) -> bool:
    return isinstance(spec, TrainSpec) and spec.runtime.nodes > 1


def launcher(spec: Spec, in_job: bool) -> str:
    """Return a prefix for a stage's command: `srun` for a training on several nodes inside its Slurm job, or empty."""
    if not (in_job and of_several_nodes(spec)):
        return ""
    assert isinstance(spec, TrainSpec)
    count = spec.runtime.nodes
    return f"srun --nodes={count} --ntasks={count} --ntasks-per-node=1 --cpus-per-task={spec.runtime.threads} --kill-on-bad-exit=1"
