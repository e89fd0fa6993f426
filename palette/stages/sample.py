"""Restore the degraded test images with a trained model.

Example: python -m palette sample -c results/sample/photos-jpeg-palette-sde20-s0-1a2b3c4d5e/spec.yaml --shard 0
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from palette.config.sampling import Sampler
from palette.config.tasks import Degradation
from palette.data.evaluation_inputs import Inputs
from palette.data.external_outputs import images_of, read, require_size
from palette.data.images.degraded import Image
from palette.data.sources.matching import matched
from palette.data.store.store import ImageStore, StoredImage, write_store
from palette.errors import DataError
from palette.model.facts import read_facts
from palette.stages.base import Planned, Runtime, Sharded, Usual, Work
from palette.stages.stage import Stage, verify
from palette.system.progress import track

if TYPE_CHECKING:
    from palette.diffusion.inference import Restorer


class SampleRuntime(Runtime):
    """Runtime options of samples: the location of external outputs."""

    folder: Path | None = None


class SampleSpec(Sharded):
    """Samples: prepare, mask, train → draw 0 of each test image, `shard-000.zip`; more of the first, `draws-000.zip`."""

    kind = "sample"
    verb = "sample"
    reads = ("prepare", "mask", "train", "released")
    shard_files = ("shard-{shard}.zip", "draws-{shard}.zip", "shard-{shard}.json")
    usual = Usual(memory_gb=16, hours=4)
    options = {
        "": "sample",
        "sampler": "samplers.{sampler}",
        "baseline": "model",
        "degradation": "tasks.{task}.degradation",
        "strength": "tasks.{task}",
        "image_size": "datasets.{dataset}.prepare.image_size",
        "count": "datasets.{dataset}.prepare.test_images",
        "seed": "seed",
    }
    runtime: SampleRuntime = SampleRuntime()
    baseline: Literal["input", "folder"] | None
    """`input`: the degraded images themselves. `folder`: external outputs. None: the trained model samples."""
    outputs: str | None = None
    """Digest of the names and sizes of external outputs, so that a changed file is noticed."""
    match_by: Literal["originals", "numbers"] | None = None
    """Meaning of the names of external outputs; None: whichever fits."""
    degradation: Degradation
    strength: float | None = None
    """Strength of the degradation, of tasks that have one."""
    sampler: Sampler | None
    """Sampler of a diffusion model; None for regression, which is evaluated once."""
    seed: int
    image_size: int
    batch_size: int
    draws: int
    draw_inputs: int

    def work(self, planned: Planned, shard: str | None = None) -> Work:
        tests, megapixels = self.images(shard), self.image_size**2 / 1e6
        several = range(tests.start, min(tests.stop, self.draw_inputs))
        images = len(tests) + (len(several) * (self.draws - 1) if self.sampler else 0)
        model = planned.parent(self, "train")
        one = model.evaluation(planned, megapixels) if model else Work()
        return replace(
            one,
            flops=images * (self.sampler.evaluations if self.sampler else 1) * one.flops,
            network=f"{one.network}, batches of {self.batch_size}" if one.network else "",
            images=images,
            megapixels=megapixels,
            bytes=images * megapixels * 3e6,
        )


Job = tuple[int, int]
"""(Test index, draw)."""


def run(stage: Stage[SampleSpec], shard: int) -> None:
    """Sample the test images of `shard`."""
    spec = stage.spec
    with closing(inputs_of(stage)) as inputs:
        folder, restorer = spec.runtime.folder, None if spec.baseline else load(stage)
        for name, jobs in (("shard", first_draws(spec, shard)), ("draws", further_draws(spec, shard))):
            images = external(spec, jobs, inputs.tests, folder) if folder else restored(spec, jobs, inputs, restorer)
            tracked = track(images, f"sample {spec.name} {name} {shard}", len(jobs), "images")
            write_store(stage.path(f"{name}-{shard:03}.zip"), tracked, inputs.tests.classes)
    stage.write_card(
        [f"shard-{shard:03}.zip", f"draws-{shard:03}.zip"],
        name=f"shard-{shard:03}.json",
        seed=spec.seed,
        images=len(first_draws(spec, shard)),
    )


def first_draws(spec: SampleSpec, shard: int) -> list[Job]:
    """Return draw 0 of each test image of the shard."""
    first = shard * spec.shard_size
    return [(index, 0) for index in range(first, min(spec.count, first + spec.shard_size))]


def further_draws(spec: SampleSpec, shard: int) -> list[Job]:
    """Return draws 1 and up of those test images of the shard that get several; none if all would be the same."""
    if spec.sampler is None:
        return []
    indices = [index for index, _ in first_draws(spec, shard) if index < spec.draw_inputs]
    return [(index, draw) for index in indices for draw in range(1, spec.draws)]


def inputs_of(stage: Stage[SampleSpec]) -> Inputs:
    """Return the degraded test images. Raises DataError if there are fewer than the plan counts."""
    spec = stage.spec
    masks = stage.parent("mask", "masks.zip") if "mask" in spec.parents else None
    inputs = Inputs(stage.parent("prepare", "test.zip").parent, masks, spec.degradation, spec.strength)
    if len(inputs) < spec.count:
        text = f"{len(inputs)} images, but the plan counts {spec.count}. Run `snakemake` again."
        raise DataError(f"{inputs.tests.path}: {text}")
    return inputs


def load(stage: Stage[SampleSpec]) -> "Restorer":
    """Return the trained model, ready to sample. Raises DataError if it was not trained for the degradation."""
    from palette.diffusion.inference import Restorer, network_with, weights_file  # here: baselines need no torch
    from palette.system import devices

    devices.use(stage.spec.runtime.threads)
    device = devices.local_device()
    model = stage.parent("train", "model.json")
    sampler = stage.spec.sampler
    weights = verify(stage.parent("train", "card.json"), stage.parent("train", weights_file(sampler)).name)
    facts = read_facts(model)
    if stage.spec.degradation not in facts.mix:
        known = ", ".join(facts.mix) or "no task"
        raise DataError(
            f"{model}: a model of {known}; it has never seen {stage.spec.degradation}. Take it out of that row."
        )
    width = sampler.ema_width if sampler else None
    network = network_with(facts.network, facts.image_size, weights, device, width)
    return Restorer(network, facts.objective.kind, sampler, stage.spec.seed, device, facts.precision)


def restored(spec: SampleSpec, jobs: list[Job], inputs: Inputs, restorer: "Restorer | None") -> Iterator[StoredImage]:
    """Yield the restored images of `jobs`, in order; without a restorer, the degraded images themselves.

    An incomplete batch is filled up, so that an image has the same bytes whatever the shards: the rounding of floats
    depends on the number of images in a batch, and only on that. Another `batch_size` moves pixels by at most 1 of 255.
    """
    size = min(spec.batch_size, spec.count)
    for start in range(0, len(jobs), size):
        batch = jobs[start : start + size]
        degraded = [inputs[index] for index, _ in batch]
        images = [d.image for d in degraded]
        if restorer is not None:
            missing = size - len(batch)
            images = restorer(degraded + degraded[:1] * missing, batch + batch[:1] * missing)
        for (index, draw), image in zip(batch, images, strict=False):
            yield stored(index, draw, image, inputs.tests)


def external(spec: SampleSpec, jobs: list[Job], tests: ImageStore, folder: Path) -> Iterator[StoredImage]:
    """Yield the external outputs for `jobs`, in order. Raises DataError unless there is one for each test image."""
    files = matched(folder, images_of(folder), tests, "external_outputs.NAME.match_by", spec.match_by)
    require_size(folder, [files[index] for index, _ in jobs], spec.image_size)
    yield from (stored(index, draw, read(folder / files[index]), tests) for index, draw in jobs)


def stored(index: int, draw: int, image: Image, tests: ImageStore) -> StoredImage:
    """Return an image named `00000017.png`, or `00000017-2.png` for draw 2, with the test image's label and origin."""
    name = f"{index:08}-{draw}.png" if draw else f"{index:08}.png"
    return StoredImage(name, image, tests.labels[index], {"index": index, "draw": draw, "original": tests.names[index]})
