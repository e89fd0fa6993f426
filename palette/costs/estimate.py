"""What the jobs of a plan will take: seconds, GPUs, memory and disk, put right by records of earlier jobs where there are any."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median

from palette.costs.gpus import GPUS, same_device, utilization
from palette.costs.made import Job
from palette.costs.records import Record, records, spec_at
from palette.costs.work import (
    Sampled,
    Work,
    features_work,
    last_state,
    network_of,
    other_work,
    prepare_work,
    sample_work,
    seconds,
    train_work,
)
from palette.plan import Plan
from palette.spec.base import Spec
from palette.spec.stages import ExtractorSpec, FeaturesSpec, PrepareSpec, ReleasedSpec, SampleSpec, TrainSpec

ON_GPU = ("train", "sample", "extractor", "features")
"""Kinds whose time depends on the device."""
RESERVED = 2 * 10**9
"""Bytes of a GPU that CUDA, cuDNN's workspaces and fragmentation take."""
STATE = 16
"""Bytes of a parameter in training: itself, its gradient, Adam's two moments, in float32."""
BENCHMARKS = Path(__file__).parents[2] / "benchmarks/results"


@dataclass(frozen=True)
class Estimate:
    """Of one job."""

    job: Job
    kind: str
    seconds: float
    gpus: int
    """Devices that it holds; on a machine without GPUs it runs on the CPU instead."""
    flops: float
    basis: str
    """What the seconds rest on."""

    @property
    def gpu_hours(self) -> float:
        return self.seconds * self.gpus / 3600


@dataclass(frozen=True)
class Memory:
    """Of one device in training."""

    model: str
    image_size: int
    state: int
    """Bytes of weights, gradients, moments and averages."""
    image: int
    """Bytes of one image more."""
    batch: int
    """Images of a micro-batch as configured."""
    largest: int
    """Images of a micro-batch that fit; 0: not even one."""

    @property
    def needed(self) -> int:
        return self.state + self.batch * self.image + RESERVED


@dataclass
class Estimator:
    """For one plan on one kind of device. device: a key of `GPUS`."""

    plan: Plan
    device: str
    history: Sequence[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gpu = GPUS[self.device]
        self.share, self.assumption = utilization(self.device, BENCHMARKS)
        self._factors: dict[tuple[str, str], tuple[float, str]] = {}
        self._others: dict[str, Spec | None] = {}

    @classmethod
    def of(cls, plan: Plan, device: str) -> "Estimator":
        """With the records that lie in the plan's results."""
        return cls(plan, device, records(plan.results))

    # ------------------------------------------------------------------------------------------------- work

    def work(self, spec: Spec, shard: str | None = None, whole: bool = False) -> Work:
        """whole: of a training, all steps, whatever state there is."""
        results = self.plan.results
        if isinstance(spec, TrainSpec):
            return train_work(spec, results, 0 if whole else last_state(results, spec))
        if isinstance(spec, SampleSpec):
            return sample_work(spec, self._model_of(spec), results, shard)
        if isinstance(spec, FeaturesSpec):
            prepare = self._parent(spec, "prepare")
            size = prepare.prepare.image_size if isinstance(prepare, PrepareSpec) else 0
            return features_work(spec, self._extractor_of(spec), size, shard)
        if isinstance(spec, PrepareSpec):
            return prepare_work(spec, self.plan.images(spec))
        return other_work(spec, self.plan.results)

    def _parent(self, spec: Spec, role: str) -> Spec | None:
        """A parent, of this plan or of an earlier one that lies on disk; None if there is none to be read."""
        folder = spec.parents.get(role, "")
        if folder in self.plan.stages or not folder:
            return self.plan.stages.get(folder)
        if folder not in self._others:
            self._others[folder] = spec_at(self.plan.results / folder)
        return self._others[folder]

    def _model_of(self, spec: SampleSpec) -> Sampled | None:
        model = self._parent(spec, "train")
        if isinstance(model, ReleasedSpec):
            return Sampled.released(model, self.plan.results)
        return Sampled.trained(model) if isinstance(model, TrainSpec) else None

    def _extractor_of(self, spec: Spec) -> str:
        extractor = spec if isinstance(spec, ExtractorSpec) else self._parent(spec, "extractor")
        return extractor.extractor if isinstance(extractor, ExtractorSpec) else ""

    def _likeness(self, spec: Spec) -> str:
        """Equal for jobs whose times can be taken from each other's: of kinds with a network, the network at work."""
        match spec:
            case TrainSpec(runtime=runtime):
                return repr((spec.network, spec.image_size, spec.precision, runtime.recompute, runtime.compile))
            case SampleSpec():
                model = self._model_of(spec)
                sampled = (model.network, model.image_size, model.precision, spec.batch_size) if model else "baseline"
                return repr(sampled)
            case FeaturesSpec() | ExtractorSpec():
                return self._extractor_of(spec)
        return ""

    # --------------------------------------------------------------------------------------------- estimates

    def estimate(self, job: Job, before: datetime | None = None, whole: bool = False) -> Estimate:
        """before: as it would have been then, by the records of that time."""
        spec = self.plan.stages[job.folder]
        work, gpus = self.work(spec, job.shard, whole), self._holds(spec)
        factor, basis = self._factor(spec, before)
        time = factor * seconds(spec.kind, work, self.gpu, self.share, gpus)
        return Estimate(job, spec.kind, time, gpus, work.flops, basis)

    def _holds(self, spec: Spec) -> int:
        """Devices that a job of this stage has to itself: GPUs, or cores of the CPU."""
        return spec.runtime.threads if self.device == "cpu" else spec.runtime.gpus

    def _factor(self, spec: Spec, before: datetime | None) -> tuple[float, str]:
        """Real by calculated seconds of earlier jobs, the more alike the better; 1 without any."""
        likeness = self._likeness(spec)
        key = (spec.kind, likeness)
        if before is None and (known := self._factors.get(key)):
            return known
        kept = [r for r in self.history if r.spec.kind == spec.kind and self.comparable(r)]
        kept = [r for r in kept if before is None or r.finished <= before]
        alike = [r for r in kept if self._likeness(r.spec) == likeness]
        found = self._from(alike or kept, "of this network" if alike and likeness else "", spec.kind)
        if before is None:
            self._factors[key] = found
        return found

    def comparable(self, record: Record) -> bool:
        """Whether it ran on such a device, or where none matters."""
        return record.spec.kind not in ON_GPU or same_device(self.gpu, record.device)

    def _from(self, kept: Sequence[Record], which: str, kind: str) -> tuple[float, str]:
        if not kept:
            return 1.0, self.assumption if kind in ("train", "sample") else "assumed"
        ratios = [record.seconds / self._calculated(record) for record in kept]
        text = f"{len(kept)} earlier job{'s' if len(kept) > 1 else ''} {which}".strip()
        return median(ratios), f"{text} on {self.gpu.name}" if kind in ON_GPU else text

    def _calculated(self, record: Record) -> float:
        name = Path(record.card).stem
        shard = name.removeprefix("shard-") if name.startswith("shard-") else None
        work = self.work(record.spec, shard, whole=True)
        devices = record.spec.runtime.threads if self.device == "cpu" else record.devices
        return seconds(record.spec.kind, work, self.gpu, self.share, devices)

    # ------------------------------------------------------------------------------------------------ memory

    def memory(self, folders: Iterable[str]) -> list[Memory]:
        """Of the trainings among the stages `folders`, once for each network and batch."""
        specs = [spec for folder in folders if isinstance(spec := self.plan.stages[folder], TrainSpec)]
        models = {row.train: row.model for row in self.plan.rows if row.train}
        found = [self._memory(spec, models[spec.folder]) for spec in specs]
        return list(dict.fromkeys(found))

    def _memory(self, spec: TrainSpec, model: str) -> Memory:
        cost = network_of(spec, self.plan.results)
        state = cost.parameters * (STATE + 4 * (1 + sum(width > 0 for width in spec.ema_widths)))
        batch = max(1, spec.batch_size // (max(spec.runtime.gpus, 1) * spec.accumulate))
        largest = max(0, (self.gpu.memory - RESERVED - state) // cost.training_bytes)
        return Memory(model, spec.image_size, state, cost.training_bytes, batch, largest)
