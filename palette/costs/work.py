"""Amount of work in a job: FLOP for networks, and images for the rest."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from palette.config.models import Model, Network, Objective
from palette.costs.gpus import Gpu
from palette.data.sources.planned import to_check
from palette.errors import DataError
from palette.model.facts import read_facts
from palette.model.flops import flops, training_flops
from palette.planning.experiments import evaluations
from palette.scoring.extractors import EXTRACTORS
from palette.stages.base import Spec
from palette.stages.extractor import ExtractorSpec
from palette.stages.features import FeaturesSpec
from palette.stages.fetch import FetchSpec
from palette.stages.mask import MaskSpec
from palette.stages.prepare import PrepareSpec
from palette.stages.released import ReleasedSpec
from palette.stages.report import ReportSpec
from palette.stages.sample import SampleSpec
from palette.stages.score import ScoreSpec
from palette.stages.train import TrainSpec


class Handling(NamedTuple):
    """Seconds on one core for everything that is not a network.

    This includes starting Python and torch, reading, degrading, measuring and writing.
    """

    job: float
    image: float
    megapixel: float


HANDLING: Mapping[str, Handling] = {
    "fetch": Handling(0.7, 0.0013, 0),  # 1.25 ms for 500 px, without downloads: benchmarks/README.md
    "prepare": Handling(0.8, 0.001, 0.13),  # 9.6 ms for 256 px, from JPEGs of 500 px: benchmarks/README.md
    "mask": Handling(0.6, 0.0016, 0.06),  # free-form masks; the others take less
    "train": Handling(7.7, 0, 0),
    "released": Handling(0.4, 0, 0),
    "sample": Handling(2.7, 0.0006, 0.1),
    "extractor": Handling(5, 0, 0.044),
    "features": Handling(3.6, 0, 0.4),  # SSIM
    "statistics": Handling(0.5, 0, 0),
    "score": Handling(0.6, 0, 0),  # with 128 features per image; 2,048 take about 12 s more for each extractor
    "tabulate": Handling(0.6, 0, 0),
    "report": Handling(1.8, 0.0018, 0.25),
}
"""CPU time measured by `benchmarks.handling` on 2026-11-24 on a core of an AMD EPYC (AVX-512); `fetch` by
`benchmarks.fetching`. Records of earlier runs correct it.
"""
UNKNOWN = Handling(1, 0, 0)
"""Assumption for a kind that nobody has measured."""
UNMEASURED = 0.1
"""Share of the time per megapixel in `features` if nothing is measured on pixels, or an original is compared with
itself.
"""

EXTRACTOR_FLOPS: Mapping[str, float] = {kind: e.flops for kind, e in EXTRACTORS.items() if e.flops}
"""FLOP per image, at the network's own input size. Counted by torch on the architectures; a test compares them."""
PIXEL_FLOPS: Mapping[str, float] = {kind: e.flops_per_pixel for kind, e in EXTRACTORS.items() if e.flops_per_pixel}
"""FLOP per pixel, for both images of a pair, of networks that take images at their own size. Counted in the same way,
at 256 pixels.
"""


def photos_flops(channels: int) -> float:
    """Return the FLOP per pixel of the photo classifier (`palette.scoring.classifier`), from its four convolutions."""
    return 18.375 * channels + 3.9375 * channels**2


@dataclass(frozen=True)
class Work:
    """Amount of work in one job."""

    flops: float = 0
    """FLOP of networks."""
    precision: str = "fp32"
    images: float = 0
    """Number of images that are read, measured or written."""
    megapixels: float = 0
    """Megapixels per image."""


def seconds(kind: str, work: Work, gpu: Gpu, utilization: float, gpus: int) -> float:
    """Return the seconds that a job takes on `gpus` devices, from these numbers alone."""
    handling = HANDLING.get(kind, UNKNOWN)
    by_hand = handling.job + work.images * (handling.image + work.megapixels * handling.megapixel)
    return by_hand + work.flops / (gpu.peak(work.precision) * utilization * max(gpus, 1))


def last_state(results: Path, spec: TrainSpec) -> int:
    """Return the step from which a training would resume; 0 without a saved state."""
    return newest_step(results / "state" / spec.state_key, spec.steps)


def newest_step(state: Path, last: int) -> int:
    """Return the newest step, up to step `last`, of which folder `state` has a saved state; 0 if there is none."""
    names = (re.fullmatch(r"step-(\d+)\.pt", file.name) for file in state.glob("step-*.pt"))
    return max((step for name in names if name and (step := int(name[1])) <= last), default=0)


def train_work(spec: TrainSpec, done: int = 0) -> Work:
    """Return the work of a training from step `done` on."""
    images = (spec.steps - done) * spec.batch_size
    each = training_flops(spec.network, spec.image_size, spec.runtime.recompute)
    return Work(images * each, spec.precision, images)


def images_in(count: int, shard_size: int, shard: str | None) -> int:
    """Return the number of test images in a shard; in all of them for None."""
    return count if shard is None else min(count, (int(shard) + 1) * shard_size) - int(shard) * shard_size


@dataclass(frozen=True)
class Sampled:
    """Model that is sampled."""

    network: Network
    image_size: int
    precision: str
    objective: Objective

    @classmethod
    def trained(cls, spec: TrainSpec) -> "Sampled":
        return cls(spec.network, spec.image_size, spec.precision, spec.objective)

    @classmethod
    def released(cls, spec: ReleasedSpec, results: Path) -> "Sampled | None":
        """Return the model that its `model.json` describes; None if there is no such file yet."""
        for file in (results / spec.folder / "model.json", Path(spec.runtime.card)):
            with suppress(OSError, DataError):
                facts = read_facts(file)
                return cls(facts.network, facts.image_size, facts.precision, facts.objective)
        return None


def sample_work(spec: SampleSpec, model: Sampled | None, shard: str | None) -> Work:
    """Return the work of a shard: the first draws, and the further ones for those of its inputs that get several."""
    first = 0 if shard is None else int(shard) * spec.shard_size
    firsts = images_in(spec.count, spec.shard_size, shard)
    several = max(0, min(spec.draw_inputs - first, firsts)) * (spec.draws - 1) if spec.sampler else 0
    images, megapixels = firsts + several, spec.image_size**2 / 1e6
    if model is None:
        return Work(images=images, megapixels=megapixels)
    times = evaluations(Model(objective=model.objective), spec.sampler)
    return Work(images * times * flops(model.network, model.image_size), model.precision, images, megapixels)


def extractor_flops(extractor: ExtractorSpec | None, image_size: int) -> float:
    """Return an extractor's FLOP per image with sides of `image_size` pixels; 0 without a network, or if unknown."""
    if extractor is None:
        return 0
    if extractor.photos is not None:
        return photos_flops(extractor.photos.channels) * image_size**2
    return EXTRACTOR_FLOPS.get(extractor.extractor, PIXEL_FLOPS.get(extractor.extractor, 0) * image_size**2)


def features_work(spec: FeaturesSpec, extractor: ExtractorSpec | None, image_size: int, shard: str | None) -> Work:
    """Return the work of measuring the images of a shard with one extractor."""
    images = images_in(spec.count, spec.shard_size, shard)
    measured = 1.0 if spec.pixels and "sample" in spec.parents else UNMEASURED
    return Work(images * extractor_flops(extractor, image_size), "fp32", images, measured * image_size**2 / 1e6)


def extractor_work(spec: ExtractorSpec, image_size: int) -> Work:
    """Return the work of training the photo classifier, per image three evaluations; 0 for other extractors."""
    images = spec.photos.steps * spec.photos.batch_size if spec.photos else 0
    return Work(3 * images * extractor_flops(spec, image_size), "fp32", images, image_size**2 / 1e6)


def prepare_work(spec: PrepareSpec, images: int) -> Work:
    """Return the work on the images of both stores."""
    return Work(images=images, megapixels=spec.prepare.image_size**2 / 1e6)


def fetch_work(spec: FetchSpec, results: Path, pictures: int | None) -> Work:
    """Return the work of reading and checking images. pictures: their number in the user's folder, if it is one."""
    return Work(images=to_check(spec, results, pictures))


def other_work(spec: Spec) -> Work:
    """Return the work of the kinds that run no large network."""
    match spec:
        case MaskSpec():
            return Work(images=spec.count, megapixels=spec.image_size**2 / 1e6)
        case ScoreSpec():
            return Work(images=spec.count * len(spec.extractors))
        case ReportSpec():
            shown = sum(images.images for images in spec.gallery_sets.values())
            return Work(images=shown, megapixels=max((g.size**2 / 1e6 for g in spec.gallery.values()), default=0))
        case _:
            return Work()
