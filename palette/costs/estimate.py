"""Estimated seconds, devices and memory of a plan's jobs, corrected by records of earlier jobs where there are any."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median

from palette.costs.gpus import GPUS, same_device, utilization
from palette.costs.networks import footprint
from palette.costs.records import NEWEST, Record, records, spec_at
from palette.costs.work import (
    Sampled,
    Work,
    extractor_work,
    features_work,
    fetch_work,
    last_state,
    other_work,
    prepare_work,
    sample_work,
    seconds,
    train_work,
)
from palette.planning.plan import Plan
from palette.planning.remaining import Job
from palette.stages.base import Spec
from palette.stages.extractor import ExtractorSpec
from palette.stages.features import FeaturesSpec
from palette.stages.fetch import FetchSpec
from palette.stages.prepare import PrepareSpec
from palette.stages.released import ReleasedSpec
from palette.stages.sample import SampleSpec
from palette.stages.train import TrainSpec

ON_GPU = ("train", "sample", "extractor", "features")
"""Kinds of stages whose time depends on the device."""
RESERVED = 2 * 10**9
"""Bytes of GPU memory that CUDA, cuDNN's workspaces and fragmentation take."""
STATE = 16
"""Bytes per parameter in training: weight, gradient and Adam's two moments, in float32."""
BENCHMARKS = Path(__file__).parents[2] / "benchmarks/results"


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of one job."""

    job: Job
    kind: str
    seconds: float
    gpus: int
    """GPUs that the job holds; CPU cores if the device is `cpu`."""
    flops: float
    basis: str
    """Source of the estimated seconds."""

    @property
    def gpu_hours(self) -> float:
        return self.seconds * self.gpus / 3600


@dataclass(frozen=True)
class Memory:
    """Memory of one device in training."""

    model: str
    image_size: int
    state: int
    """Bytes of weights, gradients, moments and averages."""
    image: int
    """Bytes per additional image."""
    batch: int
    """Images per micro-batch as configured."""
    largest: int
    """Largest number of images per micro-batch that fits; 0 if not even one does."""

    @property
    def needed(self) -> int:
        return self.state + self.batch * self.image + RESERVED


def asked_devices(spec: Spec, device: str) -> int:
    """Return the devices that a job of this stage requests: GPUs on all nodes, or CPU cores."""
    nodes = spec.runtime.nodes if isinstance(spec, TrainSpec) else 1
    return spec.runtime.threads if device == "cpu" else spec.runtime.gpus * nodes


@dataclass
class Estimator:
    """Cost estimates for one plan on one kind of device.

    device: a key of `GPUS`. most: number of available devices; None for no limit.
    """

    plan: Plan
    device: str
    most: int | None = None
    history: Sequence[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gpu = GPUS[self.device]
        self.share, self.assumption = utilization(self.device, BENCHMARKS)
        self._factors: dict[tuple[str, str, datetime | None], tuple[float, str]] = {}
        self._others: dict[str, Spec | None] = {}

    @classmethod
    def of(cls, plan: Plan, device: str, most: int | None = None) -> "Estimator":
        """Return an estimator that uses the records in the plan's results."""
        return cls(plan, device, most, records(plan.results))

    # ------------------------------------------------------------------------------------------------- work

    def work(self, spec: Spec, shard: str | None = None, done: int | None = None) -> Work:
        """Return the work of one job of a stage.

        shard: None for all test images. done: steps of a training that are not counted; None: those of the saved state,
        or of the shorter training, from which it would continue.
        """
        if isinstance(spec, TrainSpec):
            from_state = max(last_state(self.plan.results, spec), self.continued(spec)) if done is None else done
            return train_work(spec, from_state)
        if isinstance(spec, SampleSpec):
            return sample_work(spec, self._model_of(spec), shard)
        if isinstance(spec, FeaturesSpec):
            extractor = self._parent(spec, "extractor")
            known = extractor if isinstance(extractor, ExtractorSpec) else None
            return features_work(spec, known, self._image_size(spec), shard)
        if isinstance(spec, ExtractorSpec):
            return extractor_work(spec, self._image_size(spec))
        if isinstance(spec, PrepareSpec):
            return prepare_work(spec, self.plan.images(spec))
        if isinstance(spec, FetchSpec):
            return fetch_work(spec, self.plan.results, self.plan.pictures.get(spec.name))
        return other_work(spec)

    def continued(self, spec: Spec) -> int:
        """Return the steps of the shorter training that this one waits for and continues; 0 if there is none."""
        shorter = self.plan.stages.get(spec.runtime.after or "") if isinstance(spec, TrainSpec) else None
        return shorter.steps if isinstance(shorter, TrainSpec) else 0

    def _parent(self, spec: Spec, role: str) -> Spec | None:
        """Return a parent stage, from this plan or from an earlier one on disk; None if none can be read."""
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

    def _image_size(self, spec: Spec) -> int:
        """Return the image size of the parent `prepare`; 0 if there is none."""
        prepare = self._parent(spec, "prepare")
        return prepare.prepare.image_size if isinstance(prepare, PrepareSpec) else 0

    def _extractor_of(self, spec: Spec) -> str:
        extractor = spec if isinstance(spec, ExtractorSpec) else self._parent(spec, "extractor")
        return extractor.extractor if isinstance(extractor, ExtractorSpec) else ""

    def _likeness(self, spec: Spec) -> str:
        """Return a key that is equal for jobs with comparable times.

        For kinds with a network, it describes the network in use; for other kinds, it is empty.
        """
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

    def estimate(self, job: Job, before: datetime | None = None, done: int | None = None) -> Estimate:
        """Return the estimated cost of a job.

        before: use only records that existed at this time; None for all. done: see `work`.
        """
        spec = self.plan.stages[job.folder]
        work, gpus = self.work(spec, job.shard, done), self._holds(spec)
        factor, basis = self._factor(spec, before)
        time = factor * seconds(spec.kind, work, self.gpu, self.share, gpus)
        return Estimate(job, spec.kind, time, gpus, work.flops, basis)

    def _holds(self, spec: Spec) -> int:
        """Return the devices that a job of this stage holds on all its nodes: GPUs or CPU cores, at most `most`."""
        asked = asked_devices(spec, self.device)
        return asked if self.most is None else min(asked, self.most)

    def _factor(self, spec: Spec, before: datetime | None) -> tuple[float, str]:
        """Return the ratio of actual to calculated seconds, and its source.

        The ratio is the median over earlier jobs, of the same network if there are any; 1 without earlier jobs.
        """
        likeness = self._likeness(spec)
        key = (spec.kind, likeness, before)
        if key not in self._factors:
            earlier = [r for r in self.history if r.spec.kind == spec.kind and (before is None or r.finished <= before)]
            kept = [r for r in earlier[-NEWEST:] if self.comparable(r)]
            alike = [r for r in kept if self._likeness(r.spec) == likeness]
            found = self._from(alike or kept, "of this network" if alike and likeness else "", spec.kind)
            self._factors[key] = found
        return self._factors[key]

    def comparable(self, record: Record) -> bool:
        """Return whether a record is from this kind of device, or from a stage whose time does not depend on it."""
        return record.spec.kind not in ON_GPU or same_device(self.gpu, record.device)

    def _from(self, kept: Sequence[Record], which: str, kind: str) -> tuple[float, str]:
        if not kept:
            return 1.0, self.assumption if kind in ("train", "sample") else "assumed"
        ratios = [record.seconds / self._calculated(record) for record in kept]
        text = f"{len(kept)} earlier job{'s' if len(kept) > 1 else ''} {which}".strip()
        return median(ratios), f"{text} on {self.gpu.name}" if kind in ON_GPU else text

    def _calculated(self, record: Record) -> float:
        work = self.work(record.spec, record.shard, done=0)
        devices = record.spec.runtime.threads if self.device == "cpu" else record.devices
        return seconds(record.spec.kind, work, self.gpu, self.share, devices)

    # ------------------------------------------------------------------------------------------------ memory

    def memory(self, folders: Iterable[str]) -> list[Memory]:
        """Return the memory of the trainings among the stages `folders`, once for each network and batch."""
        specs = [spec for folder in folders if isinstance(spec := self.plan.stages[folder], TrainSpec)]
        models = {row.train: row.model for row in self.plan.rows if row.train}
        found = [self._memory(spec, models[spec.folder]) for spec in specs]
        return list(dict.fromkeys(found))

    def _memory(self, spec: TrainSpec, model: str) -> Memory:
        counted = footprint(spec.network, spec.image_size, spec.precision, spec.runtime.recompute, self.plan.results)
        state = counted.parameters * (STATE + 4 * (1 + sum(width > 0 for width in spec.ema_widths)))
        batch = max(1, spec.batch_size // (spec.runtime.devices * spec.accumulate))
        largest = max(0, (self.gpu.memory - RESERVED - state) // counted.training_bytes)
        return Memory(model, spec.image_size, state, counted.training_bytes, batch, largest)
