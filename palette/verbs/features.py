"""Measure a shard of samples, or of the originals, with a feature network → `shard-000.npz`."""

from collections.abc import Iterator

import torch

from palette.data.store import ImageStore
from palette.errors import DataError
from palette.files import read_json
from palette.progress import track
from palette.scoring.device import device
from palette.scoring.features import Pair, load_network, measure, save_arrays
from palette.spec import FeaturesSpec
from palette.stage import Stage


def run(stage: Stage[FeaturesSpec], shard: int) -> None:
    """Measure test items `shard * shard_size` up to the next shard."""
    spec, name = stage.spec, f"shard-{shard:03}"
    torch.set_num_threads(spec.runtime.threads)
    description = stage.parent("extractor", "extractor.json")
    network = load_network(description.parent, read_json(description), spec.runtime.weights, device(spec.runtime.gpus))
    items = range(shard * spec.shard_size, min(spec.count, (shard + 1) * spec.shard_size))
    arrays = measure(track(_pairs(stage, shard, items), f"features {spec.name} {shard}", len(items), "images"), network)
    save_arrays(stage.path(f"{name}.npz"), arrays)
    stage.write_card([f"{name}.npz"], name=f"{name}.json", images=len(items))


def _pairs(stage: Stage[FeaturesSpec], shard: int, items: range) -> Iterator[Pair]:
    """Each test item of the shard: the sample of it, or the original itself, beside the original."""
    with ImageStore(stage.parent("prepare", "test.zip")) as originals:
        if "sample" not in stage.spec.parents:
            yield from (Pair(originals[i], originals[i], originals.labels[i]) for i in items)
            return
        with ImageStore(stage.parent("sample", f"shard-{shard:03}.zip")) as samples:
            if samples.names != [f"{i:08}.png" for i in items]:
                raise DataError(
                    f"{samples.path}: does not hold test images {items.start} to {items.stop - 1}. Delete it and run `snakemake` again."
                )
            yield from (Pair(samples[k], originals[i], originals.labels[i]) for k, i in enumerate(items))
