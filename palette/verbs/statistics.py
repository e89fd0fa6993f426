"""Gather the measured shards of a set that rows are compared with, and summarize it once for all of them → `statistics.npz`."""

from palette.scoring.arrays import gather
from palette.scoring.reference import save, summarize
from palette.spec.stages import StatisticsSpec
from palette.stage import Stage


def run(stage: Stage[StatisticsSpec]) -> None:
    """Normal distributions, kernels, neighborhoods."""
    spec = stage.spec
    shards = [stage.parent("features", f"shard-{shard:03}.npz") for shard in range(-(-spec.count // spec.shard_size))]
    save(stage.path("statistics.npz"), summarize(gather(shards, spec.count, spec.shard_size, stage.path(""))))
    stage.write_card(["statistics.npz"], images=spec.count)
