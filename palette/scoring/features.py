"""Measurements of each image of a shard, by an extractor and pixel by pixel against the original → `shard-000.npz`."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from palette.data.store.store import ImageStore
from palette.errors import DataError
from palette.scoring.arrays import save_arrays
from palette.scoring.extractors import EXTRACTORS, Arrays, Pixels
from palette.scoring.loading import Network, load_network
from palette.scoring.pixels import PIXEL_METRICS
from palette.system import devices
from palette.system.files import read_json
from palette.system.parallel import ordered
from palette.system.progress import track

if TYPE_CHECKING:
    from palette.stages.features import FeaturesSpec
    from palette.stages.stage import Stage

BATCH = 32
"""Images per pass of the network.
The last batch is padded, so that an image's features do not depend on the other images."""


@dataclass(frozen=True)
class Pair:
    """An image, its original, and the original's class."""

    output: Pixels
    original: Pixels
    label: int


@dataclass(frozen=True)
class _Prepared:
    """A pair prepared for the network, with the measurements that need no network."""

    output: npt.NDArray[Any]
    original: npt.NDArray[Any]
    label: int
    values: dict[str, Any]


def measure(pairs: Iterable[Pair], network: Network, pixels: bool, threads: int = 1) -> Arrays:
    """Measure each of N images, in their order.

    Return item uint64 [N], which identifies the original by its pixels, and the network's measurements, some of:
    features float32 [N,D], spatial float32 [N,2023], probabilities float32 [N,K], correct bool [N], lpips, ms-ssim
    float64 [N]. pixels: also measure PIXEL_METRICS, float64 [N]. threads: number that prepare images for the network.
    """
    prepared = ordered(partial(_prepare, network, pixels), pairs, threads)
    parts = []
    while batch := list(islice(prepared, BATCH)):
        parts.append(_measure(batch, network))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def diversity(draws: Iterable[list[Pixels]], network: Network, chain: bool) -> npt.NDArray[np.float64]:
    """Measure the similarity of several outputs of one input, by a network of pairs: [inputs,draws-1].

    Empty without inputs. draws: the outputs of each input, equally many. chain: compare each with the next one;
    otherwise the first with each other one.
    """
    rows = []
    for images in draws:
        firsts = images[:-1] if chain else [images[0]] * (len(images) - 1)
        pairs = (Pair(a, b, 0) for a, b in zip(firsts, images[1:], strict=True))
        arrays = measure(pairs, network, pixels=False)
        rows.append(next(values for name, values in arrays.items() if name != "item"))
    return np.array(rows, np.float64)


def _prepare(network: Network, pixels: bool, pair: Pair) -> _Prepared:
    digest = hashlib.sha256(pair.original.tobytes()).digest()
    values: dict[str, Any] = {"item": np.uint64(int.from_bytes(digest[:8], "little"))}
    if pixels:
        values |= {name: metric.measure(pair.output, pair.original) for name, metric in PIXEL_METRICS.items()}
    output = network.prepare(pair.output)
    return _Prepared(output, network.prepare(pair.original) if network.pairs else output, pair.label, values)


@torch.no_grad()
def _measure(batch: list[_Prepared], network: Network) -> Arrays:
    filled = batch + batch[:1] * (BATCH - len(batch))
    outputs, originals = (np.stack([getattr(p, side) for p in filled]) for side in ("output", "original"))
    measured = network.measure(outputs, originals, np.array([p.label for p in filled]))
    own = {name: np.array([p.values[name] for p in batch]) for name in batch[0].values}
    return own | {name: values[: len(batch)] for name, values in measured.items()}


def run(stage: "Stage[FeaturesSpec]", shard: int) -> None:
    """Measure test items from `shard * shard_size` up to the next shard."""
    spec, name = stage.spec, f"shard-{shard:03}"
    devices.use(spec.runtime.threads, exact=True)
    file = stage.parent("extractor", "extractor.json")
    description = read_json(file)
    network = load_network(file.parent, description, spec.runtime.weights, devices.local_device(spec.runtime.gpus))
    items = range(shard * spec.shard_size, min(spec.count, (shard + 1) * spec.shard_size))
    pairs = track(_pairs(stage, items), f"features {spec.name} {shard}", len(items), "images")
    arrays = measure(pairs, network, spec.pixels, spec.runtime.threads)
    if network.pairs and "sample" in spec.parents:
        draws = diversity(_draws(stage, items), network, chain=EXTRACTORS[description["kind"]].chain)
        if draws.size:
            arrays[f"diversity-{description['kind']}"] = draws
    save_arrays(stage.path(f"{name}.npz"), arrays)
    stage.write_card([f"{name}.npz"], name=f"{name}.json", images=len(items), extractor=description.get("sha256"))


def _pairs(stage: "Stage[FeaturesSpec]", items: range) -> Iterator[Pair]:
    """Yield for each test item of the shard its sample, or the original itself, together with the original."""
    with ImageStore(stage.parent("prepare", "test.zip")) as originals:
        if "sample" not in stage.spec.parents:
            yield from (Pair(image, image, originals.labels[i]) for i, image in ((i, originals[i]) for i in items))
            return
        for shard, own in _sampled(stage.spec, items):
            with _samples(stage, shard, own) as samples:
                yield from (Pair(samples[k], originals[i], originals.labels[i]) for k, i in enumerate(own))


def _sampled(spec: "FeaturesSpec", items: range) -> Iterator[tuple[int, range]]:
    """Yield the shards of samples that hold `items`, each with the items in it."""
    for first in items[:: spec.sample_shard_size]:
        yield first // spec.sample_shard_size, range(first, min(first + spec.sample_shard_size, items.stop))


def _samples(stage: "Stage[FeaturesSpec]", shard: int, items: range) -> ImageStore:
    """Open the store of first draws. Raises DataError unless they are those of `items`."""
    samples = ImageStore(stage.parent("sample", f"shard-{shard:03}.zip"))
    if samples.names != [f"{i:08}.png" for i in items]:
        raise DataError(
            f"{samples.path}: does not hold test images {items.start} to {items.stop - 1}. Delete it and run `snakemake` again."
        )
    return samples


def _draws(stage: "Stage[FeaturesSpec]", items: range) -> Iterator[list[Pixels]]:
    """Yield all draws of each test item that has several; further ones are named like `00000017-2.png`."""
    for shard, own in _sampled(stage.spec, items):
        with (
            _samples(stage, shard, own) as first,
            ImageStore(stage.parent("sample", f"draws-{shard:03}.zip")) as further,
        ):
            for index, positions in groupby(range(len(further)), key=lambda k: int(further.names[k].split("-")[0])):
                yield [first[index - own.start], *(further[k] for k in positions)]
