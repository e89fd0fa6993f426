"""Measure a shard of samples, or of the originals, with an extractor → `shard-000.npz`."""

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from palette.data.store.store import ImageStore
from palette.errors import DataError
from palette.scoring.arrays import save_arrays
from palette.scoring.extractors import Pixels, load_network
from palette.scoring.features import Pair, diversity, measure
from palette.system import devices
from palette.system.files import read_json
from palette.system.progress import track

if TYPE_CHECKING:
    from palette.stages.features import FeaturesSpec
    from palette.stages.stage import Stage

CHAINED = "lpips"
"""Extractor that compares consecutive draws (Zhu et al. 2017).

The other one compares the first draw with each other one (Guadarrama et al. 2017).
"""


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
        draws = diversity(_draws(stage, items), network, chain=description["kind"] == CHAINED)
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
