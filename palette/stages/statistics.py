"""Statistics of a set that rows are compared with, computed once from its measured shards → `statistics.npz`."""

from palette.scoring.arrays import gather
from palette.scoring.reference import save, summarize
from palette.stages.base import Planned, Spec, Usual, Work, shard_names
from palette.stages.stage import Stage


class StatisticsSpec(Spec):
    """Statistics: features of a set that rows are compared with → `statistics.npz`."""

    kind = "statistics"
    verb = "score"
    reads = ("features",)
    files = ("statistics.npz",)
    usual = Usual(memory_gb=32, hours=2)
    options = {
        "count": "datasets.{dataset}.prepare.test_images",
        "shard_size": "score.shard_size",
    }
    count: int
    shard_size: int

    def work(self, planned: Planned, shard: str | None = None) -> Work:
        return Work(bytes=8 * (2 * 2048**2 + self.count))  # two square roots of covariances, and neighborhoods


def run(stage: Stage[StatisticsSpec]) -> None:
    """Compute normal distributions, kernels and neighborhoods, and write them."""
    spec = stage.spec
    shards = [stage.parent("features", f"shard-{shard}.npz") for shard in shard_names(spec.count, spec.shard_size)]
    save(stage.path("statistics.npz"), summarize(gather(shards, spec.count, spec.shard_size, stage.path(""))))
    stage.write_card(["statistics.npz"], images=spec.count)
