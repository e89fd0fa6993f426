"""Schedule of a plan's jobs on a number of GPUs, by list scheduling: longest remaining path first, as soon as it fits.

This approximates Snakemake and Slurm, without queues, other users and failures.
"""

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from palette.costs.estimate import Estimate
from palette.planning.plan import Plan
from palette.planning.remaining import Job
from palette.stages.train import TrainSpec


@dataclass(frozen=True)
class Placed:
    """Job with its assigned GPUs and start time."""

    estimate: Estimate
    devices: tuple[int, ...]
    """Indices of the GPUs, counted over all nodes; none for a job without GPUs."""
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
        used = sum(placed.estimate.seconds * len(placed.devices) for placed in self.placed)
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
        found[job] = [
            parent for folder in dict.fromkeys(folders) for parent in of_stage[folder] if _waits(plan, job, parent)
        ]
    return found


def _waits(plan: Plan, job: Job, parent: Job) -> bool:
    """Return whether a job waits for this job of a parent stage: a shard of features waits only for its own samples."""
    if parent.shard is None or job.shard is None or not plan.stages[parent.folder].shards:
        return True
    return parent.shard in plan.sampled(plan.stages[job.folder], job.shard)


def tails(waits_for: Mapping[Job, Sequence[Job]], seconds: Mapping[Job, float]) -> dict[Job, float]:
    """Return job → seconds from its start to the end of the longest chain that follows it."""
    waiting: dict[Job, list[Job]] = defaultdict(list)
    for job, parents in waits_for.items():
        for parent in parents:
            waiting[parent].append(job)
    found: dict[Job, float] = {}
    for job in reversed(_in_order(waits_for)):
        found[job] = seconds[job] + max((found[child] for child in waiting[job]), default=0.0)
    return found


def _in_order(waits_for: Mapping[Job, Sequence[Job]]) -> list[Job]:
    """Return the jobs with parents before children."""
    found: dict[Job, None] = {}
    for first in waits_for:
        stack = [first]
        while stack:
            job = stack[-1]
            missing = [parent for parent in waits_for[job] if parent not in found] if job not in found else []
            if missing:
                stack += missing
            else:
                found[stack.pop()] = None
    return list(found)


class Nodes:
    """Free GPUs of each node."""

    def __init__(self, gpus: int, nodes: int) -> None:
        self.each = gpus // nodes
        self.free = [list(range(node * self.each, (node + 1) * self.each)) for node in range(nodes)]

    def take(self, count: int) -> tuple[int, ...] | None:
        """Take `count` GPUs and return them; None if they are not free.

        They are on the fullest node that has enough free, or whole nodes.
        """
        fitting = [node for node in self.free if len(node) >= count]
        if fitting:
            node = min(fitting, key=len)
            return tuple(node.pop(0) for _ in range(count))
        whole = [node for node in self.free if len(node) == self.each]
        needed = -(-count // self.each)
        if count <= self.each or len(whole) < needed:
            return None
        return tuple(device for node in whole[:needed] for device in (node.pop(0) for _ in range(self.each)))

    def give(self, devices: Sequence[int]) -> None:
        for device in devices:
            self.free[device // self.each].append(device)


class Simulation:
    """Simulation of list scheduling: waiting jobs, running jobs and the clock."""

    def __init__(self, plan: Plan, estimates: Sequence[Estimate], gpus: int, nodes: int) -> None:
        self.estimates = {estimate.job: estimate for estimate in estimates}
        self.waits_for = dependencies(plan, list(self.estimates))
        self.left = tails(self.waits_for, {job: e.seconds for job, e in self.estimates.items()})
        self.children: dict[Job, list[Job]] = defaultdict(list)
        for job, parents in self.waits_for.items():
            for parent in parents:
                self.children[parent].append(job)
        self.open = {job: len(parents) for job, parents in self.waits_for.items()}
        self.gpus, self.nodes, self.now = gpus, Nodes(gpus, nodes), 0.0
        self.ready: dict[int, list[tuple[float, str, Job]]] = defaultdict(list)
        self.running: list[tuple[float, str, Placed]] = []
        self.placed: list[Placed] = []

    def run(self) -> list[Placed]:
        for job in (job for job, count in self.open.items() if not count):
            self._queue(job)
        while self._start() or self.running:
            end, _, placed = heapq.heappop(self.running)
            self.now = end
            self.nodes.give(placed.devices)
            for child in self.children[placed.estimate.job]:
                self.open[child] -= 1
                if not self.open[child]:
                    self._queue(child)
        return self.placed

    def _queue(self, job: Job) -> None:
        """Add a job to those that are ready. Jobs that request more GPUs than there are get all of them."""
        count = min(self.estimates[job].gpus, self.gpus)
        heapq.heappush(self.ready[count], (-self.left[job], job.name, job))

    def _start(self) -> bool:
        """Start every job that fits, longest remaining path first. Return whether any was started."""
        started = False
        waiting = {count for count, jobs in self.ready.items() if jobs}
        while waiting:
            count = min(waiting, key=lambda c: self.ready[c][0])
            devices = self.nodes.take(count) if count else ()
            if devices is None:
                waiting.discard(count)
                continue
            _, name, job = heapq.heappop(self.ready[count])
            placed = Placed(self.estimates[job], devices, self.now)
            heapq.heappush(self.running, (placed.end, name, placed))
            self.placed.append(placed)
            started = True
            if not self.ready[count]:
                waiting.discard(count)
        return started

    def critical(self) -> list[Estimate]:
        """Return the longest chain of jobs, first to last."""
        waiting = [job for job, parents in self.waits_for.items() if not parents]
        chain: list[Estimate] = []
        while waiting:
            job = max(waiting, key=self.left.__getitem__)
            chain.append(self.estimates[job])
            waiting = self.children[job]
        return chain


def simulate(plan: Plan, estimates: Sequence[Estimate], gpus: int, nodes: int = 1) -> Schedule:
    """Return the schedule of all `estimates` on `gpus` GPUs, split evenly over `nodes`.

    Jobs without a GPU run at the same time, on as many CPUs as they need.
    """
    simulation = Simulation(plan, estimates, gpus, nodes)
    return Schedule(simulation.run(), gpus, nodes, simulation.critical())
