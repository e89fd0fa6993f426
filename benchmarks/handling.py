"""`python -m benchmarks.handling`: time of each kind of job outside the networks, for palette/costs/estimate.py.

Runs every job of a small run in a process of its own, as Snakemake does, on one core, and measures its CPU time,
including imports. Runs with two image sizes and two numbers of images give seconds per job, per image and per
megapixel, by non-negative least squares. The networks are as small as possible, and their time by `palette plan` is
subtracted. For sampling, the times per image come from degraded inputs, which no network processes; the time per job is
that of a trained model, extrapolated to no images.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls

from benchmarks.timing import parser, write
from palette.config import Config
from palette.costs.estimate import Estimator
from palette.planning.plan import Plan
from palette.planning.remaining import jobs_of
from palette.stages.base import Spec, Work
from palette.stages.features import FeaturesSpec
from palette.stages.released import ReleasedRuntime, ReleasedSpec
from palette.stages.sample import SampleSpec
from palette.stages.train import TrainSpec
from palette.system.files import sha256

SIZES, COUNTS = (64, 256), (32, 128)
QUICK = (16,), (4, 8)
NETWORK = {"channels": 8, "multipliers": [1], "blocks": 1, "attention": [], "head_channels": 8}
MODELED = "sample, model"
"""Sampling jobs of a trained model, as opposed to those of the inputs."""


class Sample(NamedTuple):
    """A finished job: CPU seconds without networks, images, megapixels of one image."""

    seconds: float
    images: float
    megapixels: float


def planned(results: Path, size: int, count: int, modeled: bool) -> Plan:
    """Plan a run with `count` test images of `size` pixels: inputs and originals, and a model if it is `modeled`."""
    rows: list[dict[str, Any]] = [
        {"dataset": "photos", "task": "hole", "model": "input"},
        {"dataset": "photos", "model": "originals"},
    ]
    if modeled:
        rows.append({"dataset": "photos", "task": "hole", "model": "palette", "sampler": "dpm"})
    config = {
        "results": results,
        "datasets": {"photos": {"prepare": {"image_size": size, "train_images": 64, "test_images": count}}},
        "tasks": {"hole": {"degradation": "inpainting", "mask": "free-form-20-30"}},
        "models": {"palette": {"network": NETWORK, "train": {"steps": 2, "batch_size": 4}}},
        "samplers": {"dpm": {"steps": 1}},
        "sample": {"shard_size": count, "draws": 1, "threads": 1},
        "score": {"shard_size": count, "photos": {"steps": -(-count // 16), "batch_size": 64, "channels": 8}},
        "experiments": rows,
        "tables": {"scores": {}},
        "report": {"gallery_images": count},
    }
    return Plan(Config.model_validate(config))


def cpu_seconds(spec: Spec, results: Path, shard: str | None = None) -> float:
    """Return the CPU seconds of the process that runs a job and of all processes that it starts."""
    file = spec.write(results)
    command = [sys.executable, "-m", "palette", spec.verb, "-c", str(file)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    arguments = ["--shard", str(int(shard))] if shard else []
    subprocess.run(
        [*command, *arguments], check=True, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(plan: Plan, size: int) -> Iterator[tuple[str, Sample]]:
    """Run every job of a plan, parents first; features of samples once more without the pixel metrics."""
    estimator = Estimator(plan, "cpu")
    for folder, spec in plan.stages.items():
        for job in jobs_of(plan, folder):
            taken = cpu_seconds(spec, plan.results, job.shard)
            yield kind_of(spec), sample_of(taken, estimator.work(spec, job.shard), estimator, size)
        if isinstance(spec, TrainSpec):
            released = released_from(spec, plan.results)
            yield "released", Sample(cpu_seconds(released, plan.results), 0, 0)
        if isinstance(spec, FeaturesSpec) and "sample" in spec.parents:
            yield "features, no pixels", without_pixels(spec, estimator, size)


def kind_of(spec: Spec) -> str:
    """Return the kind of a job, or another name if it does clearly less or more than its kind."""
    if isinstance(spec, SampleSpec) and spec.baseline is None:
        return MODELED
    if isinstance(spec, FeaturesSpec) and "sample" not in spec.parents:
        return "features, originals"  # each is compared with itself
    return spec.kind


def sample_of(taken: float, work: Work, estimator: Estimator, size: int) -> Sample:
    """Return a finished job without the time of its networks. size: of an image, in pixels."""
    networks = work.flops / (estimator.gpu.peak(work.precision) * estimator.share)
    return Sample(taken - networks, work.images, size**2 / 1e6 if work.megapixels else 0.0)


def without_pixels(spec: FeaturesSpec, estimator: Estimator, size: int) -> Sample:
    bare = FeaturesSpec.model_validate({**spec.model_dump(), "pixels": False})
    taken = cpu_seconds(bare, estimator.plan.results, "000")
    return sample_of(taken, estimator.work(bare, "000"), estimator, size)


def released_from(spec: TrainSpec, results: Path) -> ReleasedSpec:
    """Return the model just trained as a released one."""
    card = results / spec.folder / "model.json"
    runtime = ReleasedRuntime(card=str(card))
    kind = spec.objective.kind
    return ReleasedSpec(
        name="released", runtime=runtime, sha256=sha256(card), image_size=spec.image_size, objective=kind
    )


def fitted(samples: Sequence[Sample]) -> list[float]:
    """Return seconds per job, per image and per megapixel; only the first if all jobs are alike."""
    if len({(sample.images, sample.megapixels) for sample in samples}) == 1:
        return [float(np.median([sample.seconds for sample in samples])), 0.0, 0.0]
    seconds, images, megapixels = np.array(samples).T
    columns = np.stack([np.ones_like(images), images, images * megapixels], axis=1)
    found, _ = nnls(columns, seconds)
    return [float(number) for number in found]


def handling(samples: dict[str, list[Sample]]) -> dict[str, list[float]]:
    """Return kind → its three numbers."""
    found = {kind: fitted(of_kind) for kind, of_kind in samples.items()}
    model = found.pop(MODELED)
    found["sample"] = [model[0], *found["sample"][1:]]
    return found


def main(arguments: list[str] | None = None) -> int:
    options = parser(__doc__)
    options.set_defaults(repeats=2)
    chosen = options.parse_args(arguments)
    torch.set_num_threads(1)
    sizes, counts = QUICK if chosen.quick else (SIZES, COUNTS)
    samples: dict[str, list[Sample]] = defaultdict(list)
    for _ in range(1 if chosen.quick else chosen.repeats):
        folder = Path(tempfile.mkdtemp(prefix="handling-"))
        try:
            for size in sizes:
                for count in counts:
                    plan = planned(folder / f"{size}-{count}", size, count, modeled=size == sizes[0])
                    for kind, sample in measured(plan, size):
                        samples[kind].append(sample)
                    print(f"{size} px, {count} images: {len(plan.stages)} stages done", flush=True)
        finally:
            shutil.rmtree(folder)
    found = handling(samples)
    for kind, (job, image, megapixel) in found.items():
        print(f"{kind:20} {job:6.2f} s per job, {1000 * image:7.2f} ms per image, {megapixel:6.3f} s per megapixel")
    settings = {"sizes": sizes, "counts": counts, "repeats": chosen.repeats}
    write(chosen.results, "handling", torch.device("cpu"), settings, {"handling": found, "samples": dict(samples)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
