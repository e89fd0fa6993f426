"""Schedule of a plan's jobs on a number of GPUs, by list scheduling: longest remaining path first, as soon as it fits.

This approximates Snakemake and Slurm, without queues, other users and failures.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from palette.costs.estimate import Estimate
from palette.planning.plan import Plan
from palette.planning.remaining import Job
from palette.stages.base import Sharded
from palette.stages.train import TrainSpec


@dataclass(frozen=True)
class Placed:
    """Job with its GPUs and start time."""

    estimate: Estimate
    gpus: Mapping[int, int]
    """Node → number of its GPUs that the job holds; empty for a job without GPUs."""
    start: float
    """Seconds from the start of the schedule."""

    @property
    def end(self) -> float:
        return self.start + self.estimate.seconds


@dataclass(frozen=True)
class Schedule:
    """Time and place of each job."""

    placed: Sequence[Placed]
    gpus: int
    nodes: int
    critical: Sequence[Estimate]
    """Jobs of the critical path, which no number of GPUs makes shorter."""

    @property
    def seconds(self) -> float:
        """Wall time in seconds."""
        return max((placed.end for placed in self.placed), default=0.0)

    @property
    def idle(self) -> float:
        """Share of GPU time that no job uses."""
        used = sum(placed.estimate.seconds * sum(placed.gpus.values()) for placed in self.placed)
        return 1 - used / (self.seconds * self.gpus) if self.placed else 0.0


def dependencies(plan: Plan, jobs: Sequence[Job]) -> dict[Job, list[Job]]:
    """Return job → those of `jobs` that it waits for."""
    of_stage: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        of_stage[job.folder].append(job)
    found: dict[Job, list[Job]] = {}
    for job in jobs:
        spec = plan.stages[job.folder]
        folders = [table.folder for table in plan.tables] if spec.kind == "report" else list(spec.parents.values())
        folders += [spec.runtime.after] if isinstance(spec, TrainSpec) and spec.runtime.after else []
        found[job] = []
        for folder in dict.fromkeys(folders):
            parent, waiting = plan.stages.get(folder), of_stage[folder]
            if job.shard and isinstance(spec, Sharded) and isinstance(parent, Sharded):
                own = spec.shards_read(parent, job.shard)
                waiting = [other for other in waiting if other.shard in own]
            found[job] += waiting
    return found


def take(free: list[int], count: int, each: int) -> dict[int, int] | None:
    """Return node → GPUs of it for a job that needs `count`, and take them from `free`; None if the job has to wait.

    They are on the fullest node that has enough, or whole nodes. free: free GPUs of each node, of which there are `each`.
    """
    fitting = [node for node, left in enumerate(free) if left >= count]
    whole = [node for node, left in enumerate(free) if left == each]
    needed = -(-count // each)
    if not fitting and (count <= each or len(whole) < needed):
        return None
    taken = {min(fitting, key=free.__getitem__): count} if fitting else dict.fromkeys(whole[:needed], each)
    for node, gpus in taken.items():
        free[node] -= gpus
    return taken


def simulate(plan: Plan, estimates: Iterable[Estimate], gpus: int, nodes: int = 1) -> Schedule:
    """Return the schedule of all `estimates` on `gpus` GPUs, split evenly over `nodes`.

    Jobs without a GPU run at once; those that request more GPUs than there are get all of them.
    """
    by_job = {estimate.job: estimate for estimate in estimates}
    waits_for = dependencies(plan, list(by_job))
    remaining, critical = _paths(waits_for, by_job)
    graph, each = TopologicalSorter(waits_for), gpus // nodes
    free = [each] * nodes
    graph.prepare()
    ready: dict[int, list[tuple[float, str, Job]]] = defaultdict(list)  # number of GPUs → jobs, as heaps
    running: list[tuple[float, str, Placed]] = []
    placed: list[Placed] = []
    now = 0.0
    while graph.is_active():
        for job in graph.get_ready():
            heapq.heappush(ready[min(by_job[job].gpus, gpus)], (-remaining[job], job.name, job))
        waiting = {count for count, jobs in ready.items() if jobs}
        while waiting:
            count = min(waiting, key=lambda count: ready[count][0])
            taken = take(free, count, each) if count else {}
            if taken is not None:
                _, name, job = heapq.heappop(ready[count])
                placed.append(Placed(by_job[job], taken, now))
                heapq.heappush(running, (placed[-1].end, name, placed[-1]))
            if taken is None or not ready[count]:
                waiting.discard(count)
        now, _, ended = heapq.heappop(running)
        for node, count in ended.gpus.items():
            free[node] += count
        graph.done(ended.estimate.job)
    return Schedule(placed, gpus, nodes, critical)


def _paths(
    waits_for: Mapping[Job, Sequence[Job]], estimates: Mapping[Job, Estimate]
) -> tuple[dict[Job, float], list[Estimate]]:
    """Return job → seconds from its start to the end of the longest chain that follows, and the longest of all."""
    following: dict[Job, Job | None] = dict.fromkeys(waits_for)
    seconds = dict.fromkeys(waits_for, 0.0)
    for job in reversed(list(TopologicalSorter(waits_for).static_order())):
        seconds[job] += estimates[job].seconds
        for parent in waits_for[job]:
            if seconds[job] > seconds[parent]:
                seconds[parent], following[parent] = seconds[job], job
    chain: list[Estimate] = []
    last: Job | None = max(seconds, key=seconds.__getitem__, default=None)
    while last is not None:
        chain.append(estimates[last])
        last = following[last]
    return seconds, chain
