"""Estimated seconds, devices and memory of a plan's jobs, corrected by records of earlier jobs where there are any."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from palette.config.models import Network
from palette.costs.gpus import GPUS, same_device, utilization
from palette.costs.records import NEWEST, Record, records, spec_at
from palette.model.flops import parameters
from palette.planning.plan import Plan
from palette.planning.remaining import Job, last_state
from palette.stages.base import Spec, Work
from palette.stages.fingerprint import digests
from palette.stages.train import TrainSpec
from palette.system.files import write_json

START, START_NETWORK = 0.7, 4.0
"""Seconds that a job takes to start: Python and this package, or torch and a network too."""
IMAGE, MEGAPIXEL = 0.001, 0.15
"""Seconds on one core for an image and for each megapixel of it. All four lie between those that `benchmarks.handling` measured."""
RESERVED = 2 * 10**9
"""Bytes of GPU memory that CUDA, cuDNN's workspaces and fragmentation take."""
COUNTS = ".cost"
"""Folder in the results folder with counts that take seconds to make."""


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of one job."""

    job: Job
    seconds: float
    gpus: int
    """GPUs that the job holds on all its nodes; CPU cores if the device is `cpu`."""
    flops: float
    basis: str
    """Source of the estimated seconds."""

    @property
    def gpu_hours(self) -> float:
        return self.seconds * self.gpus / 3600


def requested_devices(spec: Spec, device: str) -> int:
    """Return the devices that a job of this stage requests: GPUs on all nodes, or CPU cores."""
    nodes = spec.runtime.nodes if isinstance(spec, TrainSpec) else 1
    return spec.runtime.threads if device == "cpu" else spec.runtime.gpus * nodes


def state_bytes(network: Network, image_size: int, averages: Sequence[float]) -> int:
    """Return the bytes of weights, gradients, Adam's two moments, the average of `ema` and the others, in float32."""
    return 4 * parameters(network, image_size) * (5 + sum(width > 0 for width in averages))


@cache
def image_bytes(network: Network, image_size: int, precision: str, recompute: bool, results: Path) -> int:
    """Return the memory of each image of a micro-batch in training.

    Counting takes seconds and needs torch, so the count is kept in the results folder, for the same code.
    """
    options = [network.model_dump(mode="json"), image_size, precision, recompute]
    key = json.dumps([options, digests("palette.model.memory")], sort_keys=True)
    file = results / COUNTS / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    with suppress(OSError, ValueError, TypeError):
        return int(json.loads(file.read_text(encoding="utf-8")))
    # Imported by name here, so that importing this module does not need torch.
    counted = import_module("palette.model.memory").activations(network, image_size, precision, recompute)
    with suppress(OSError):  # the folder may be read-only
        write_json(file, counted.training)
    return int(counted.training)


class Estimator:
    """Cost estimates for one plan on one kind of device. For its stages, it is what they know of the plan.

    device: a key of `GPUS`. most: number of available devices; None for no limit.
    """

    def __init__(self, plan: Plan, device: str, most: int | None = None, history: Sequence[Record] = ()) -> None:
        self.plan, self.device, self.most, self.history = plan, device, most, history
        self.results, self.pictures = plan.results, plan.pictures
        self.gpu = GPUS[device]
        self.share, self.assumption = utilization(device)
        self._factors: dict[tuple[object, ...], tuple[float, str]] = {}
        self._works: dict[str, Work] = {}
        self._others: dict[str, Spec | None] = {}

    @classmethod
    def of(cls, plan: Plan, device: str, most: int | None = None) -> "Estimator":
        """Return an estimator that uses the records in the plan's results."""
        return cls(plan, device, most, records(plan.results))

    def parent(self, spec: Spec, role: str) -> Spec | None:
        """Return a parent stage, from this plan or from an earlier one on disk; None if none can be read."""
        folder = spec.parents.get(role, "")
        if folder in self.plan.stages or not folder:
            return self.plan.stages.get(folder)
        if folder not in self._others:
            self._others[folder] = spec_at(self.results / folder)
        return self._others[folder]

    def work(self, spec: Spec, shard: str | None = None, done: int | None = None) -> Work:
        """Return the work of one job of a stage.

        shard: None for all test images. done: steps of a training that are not counted; None: those of the saved state,
        or of the shorter training, from which it would continue.
        """
        work = spec.work(self, shard)
        if not isinstance(spec, TrainSpec):
            return work
        if done is None:
            shorter = self.plan.stages.get(spec.runtime.after or "")
            continued = shorter.steps if isinstance(shorter, TrainSpec) else 0
            done = max(last_state(self.results, spec), continued)
        return replace(work, flops=work.flops * (spec.steps - done) / spec.steps)

    def seconds(self, work: Work, devices: int) -> float:
        """Return the seconds that a job with this work takes, by calculation alone."""
        start = START_NETWORK if work.flops else START
        handling = work.images * (IMAGE + work.megapixels * MEGAPIXEL)
        return start + handling + work.flops / (self.gpu.peak(work.precision) * self.share * max(devices, 1))

    def estimate(self, job: Job, done: int | None = None) -> Estimate:
        """Return the estimated cost of a job. done: see `work`."""
        spec = self.plan.stages[job.folder]
        work, devices = self.work(spec, job.shard, done), requested_devices(spec, self.device)
        devices = devices if self.most is None else min(devices, self.most)
        factor, basis = self._factor(spec, work)
        return Estimate(job, factor * self.seconds(work, devices), devices, work.flops, basis)

    def _factor(self, spec: Spec, work: Work) -> tuple[float, str]:
        """Return the ratio of actual to calculated seconds, and its source.

        The ratio is the median over earlier jobs, of the same network if there are any; 1 without earlier jobs.
        """
        key = (spec.kind, spec.runtime.gpus > 0, work.network)
        if key not in self._factors:
            earlier = [record for record in self.history if record.spec.kind == spec.kind]
            comparable = [record for record in earlier[-NEWEST:] if self._comparable(record, spec)]
            same = [record for record in comparable if self._recorded(record).network == work.network]
            self._factors[key] = self._from(same or comparable, spec, work, bool(same and work.network))
        return self._factors[key]

    def _comparable(self, record: Record, spec: Spec) -> bool:
        """Return whether a job ran on this kind of device, or, like `spec`, on no GPU."""
        on_gpu = record.spec.runtime.gpus > 0
        return on_gpu == (spec.runtime.gpus > 0) and (not on_gpu or same_device(self.gpu, record.device))

    def _recorded(self, record: Record) -> Work:
        if record.card not in self._works:
            self._works[record.card] = self.work(record.spec, record.shard, done=0)
        return self._works[record.card]

    def _from(self, selected: Sequence[Record], spec: Spec, work: Work, same_network: bool) -> tuple[float, str]:
        if not selected:
            return 1.0, self.assumption if work.flops else "assumed"
        ratios = []
        for record in selected:
            devices = record.spec.runtime.threads if self.device == "cpu" else record.devices
            ratios.append(record.seconds / self.seconds(self._recorded(record), devices))
        jobs = f"{len(selected)} earlier job{'s' if len(selected) > 1 else ''}"
        network = " of this network" if same_network else ""
        return median(ratios), f"{jobs}{network}{f' on {self.gpu.name}' if spec.runtime.gpus else ''}"

    def disk_bytes(self, folders: Iterable[str]) -> int:
        """Return an upper estimate of the bytes that these stages will write."""
        return int(sum(self.plan.stages[folder].work(self).bytes for folder in folders))

    def memory(self, folders: Iterable[str]) -> list[dict[str, Any]]:
        """Return the memory in bytes that these stages' trainings need on a device, once for each network and batch."""
        models = {row.train: row.model for row in self.plan.rows}
        found: list[dict[str, Any]] = []
        for spec in (self.plan.stages[folder] for folder in folders):
            if isinstance(spec, TrainSpec):
                facts = {"model": models[spec.folder], "image_size": spec.image_size, **self._memory(spec)}
                found += [facts] if facts not in found else []
        return found

    def _memory(self, spec: TrainSpec) -> dict[str, int]:
        """Return the bytes of weights and optimizer and of an image, and the images per micro-batch that are configured
        and that fit at most; 0 if not even one does.
        """
        state = state_bytes(spec.network, spec.image_size, spec.ema_widths)
        image = image_bytes(spec.network, spec.image_size, spec.precision, spec.runtime.recompute, self.results)
        batch = max(1, spec.batch_size // (spec.runtime.devices * spec.accumulate))
        return {
            "state": state,
            "image": image,
            "batch": batch,
            "largest": max(0, (self.gpu.memory - RESERVED - state) // image),
            "needed": state + batch * image + RESERVED,
            "device": self.gpu.memory,
        }
