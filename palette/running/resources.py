"""What each job asks Snakemake for: GPUs, nodes, memory, time and, of a Slurm cluster, where it is to run.

Names and meanings are those that snakemake-executor-plugin-slurm reads; other executors read `gpu`, `mem_mb` and `runtime`.
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
    """Resource → its value, or a function (wildcards, attempt) → value, None for none, for the jobs of one kind.

    on_slurm: tells, when a job is to be started, whether Slurm gets it.
    """
    request = merged(plan, kind)
    usual = KINDS[kind].usual
    gb, hours = request.memory_gb, request.hours or usual.hours

    def of_stage(wildcards: Any) -> Spec:
        """The job's stage. `tabulate` and `report` have one each."""
        return plan.stages[f"{kind}/{wildcards.stage}"] if "stage" in wildcards.keys() else plan.of_kind(kind)[0]  # noqa: SIM118

    def memory(wildcards: Any, attempt: int) -> int:
        each = gb or usual.memory_gb * (max(of_stage(wildcards).runtime.gpus, 1) if kind == "train" else 1)
        return round(1000 * each * 2.0 ** (attempt - 1))

    counts = {spec.runtime.gpus for spec in plan.of_kind(kind)}

    def of_gpus(name: str) -> Resource | int:
        """A number where all jobs of a kind ask for as many in one way, for Snakemake calls a function in each of thousands."""
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
    """The resources that a job of this kind may have at all: Snakemake asks for each of them in each of thousands of jobs."""
    specs = plan.of_kind(kind)
    named, several = {"nodes"}, any(map(of_several_nodes, specs))
    if any(spec.runtime.gpus for spec in specs):
        named |= {"gpu"} | ({"gpu_model"} if request.gpu_model else set())
        named |= {"gres"} if several or plan.config.cluster.gpus == "gres" else set()
    return named | ({"tasks", "tasks_per_gpu", "mpi"} if several else set())


def merged(plan: Plan, kind: str) -> Request:
    """What the config asks for the jobs of one kind."""
    cluster = plan.config.cluster
    own: Request = getattr(cluster, KINDS[kind].verb)
    return cluster.jobs.model_copy(update=own.model_dump(exclude_none=True))


def gpus(spec: Spec, dialect: str, model: str | None, on_slurm: bool) -> dict[str, Value]:
    """The GPUs of a stage: a number for Snakemake and for `--gpus`, or Slurm's `--gres`, which counts for each node."""
    count = spec.runtime.gpus
    if not (on_slurm and count and (dialect == "gres" or of_several_nodes(spec))):
        return {"gpu": count or None, "gpu_model": model if on_slurm and count else None, "gres": None}
    return {"gpu": None, "gpu_model": None, "gres": ":".join(filter(None, ("gpu", model, str(count))))}


def nodes(spec: Spec) -> dict[str, Value]:
    """The nodes of a stage. On several, the job's command starts one task on each with `srun`, which `mpi` leaves to it."""
    if not of_several_nodes(spec):
        return {"nodes": 1, "tasks": None, "tasks_per_gpu": None, "mpi": None}
    assert isinstance(spec, TrainSpec)
    return {"nodes": spec.runtime.nodes, "tasks": spec.runtime.nodes, "tasks_per_gpu": 0, "mpi": "srun"}


def of_several_nodes(spec: Spec) -> bool:
    return isinstance(spec, TrainSpec) and spec.runtime.nodes > 1


def launcher(spec: Spec, in_job: bool) -> str:
    """What stands before the command of a stage: `srun`, for a training on several nodes inside its Slurm job."""
    if not (in_job and of_several_nodes(spec)):
        return ""
    assert isinstance(spec, TrainSpec)
    count = spec.runtime.nodes
    return f"srun --nodes={count} --ntasks={count} --ntasks-per-node=1 --cpus-per-task={spec.runtime.threads} --kill-on-bad-exit=1"
