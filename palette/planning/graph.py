"""Files between stages: what each job makes, and what it waits for."""

from dataclasses import dataclass, field
from pathlib import Path

from palette.stages.base import Spec
from palette.stages.features import FeaturesSpec
from palette.stages.report import ReportSpec
from palette.stages.train import TrainSpec


@dataclass
class Graph:
    """Stages by folder, relative to the results folder, and the files that connect them."""

    results: Path = field(init=False)
    stages: dict[str, Spec] = field(init=False, default_factory=dict)

    def of_kind(self, kind: str) -> list[Spec]:
        """Return the stages of one kind."""
        return [spec for spec in self.stages.values() if spec.kind == kind]

    def outputs(self, folder: str, shard: str | None = None) -> list[str]:
        """Return the files that a stage makes, relative to the results folder: those of one shard, or all for None."""
        return self.stages[folder].written(shard)

    def inputs(self, folder: str, shard: str | None = None) -> list[str]:
        """Return the files that the job of a stage waits for if nothing exists yet.

        Snakemake checks each of them for each job, so the many shards name only their parents' cards, which are written
        last. Only `score` and `report` check, once, that the parents' other files exist too.
        """
        spec = self.stages[folder]
        if isinstance(spec, ReportSpec):
            row_stages = [f for row in spec.rows for f in (row.score, row.train, row.prepare, row.mask) if f]
            tables = [table.folder for table in self.of_kind("tabulate")]
            samples = [f for row in spec.rows if (f := row.sample)]
            made = [file for f in dict.fromkeys([*tables, *row_stages]) for file in self.outputs(f)]
            return made + [file for f in dict.fromkeys(samples) for file in self.stages[f].cards]
        if shard is None:
            made = [file for f in dict.fromkeys(spec.parents.values()) for file in self.outputs(f)]
            # A training waits for the shorter one that it continues.
            shorter = spec.runtime.after if isinstance(spec, TrainSpec) else None
            return [*made, self.stages[shorter].card] if shorter else made
        parents = {role: f for role, f in spec.parents.items() if role != "sample"}
        cards = [self.stages[f].card for f in parents.values()]
        return cards + [file for s in self.sampled(spec, shard) for file in self.outputs(spec.parents["sample"], s)]

    def sampled(self, spec: Spec, shard: str) -> list[str]:
        """Return the shards of samples that a shard of features measures; none if it measures the originals."""
        if not isinstance(spec, FeaturesSpec) or "sample" not in spec.parents:
            return []
        each = spec.shard_size // spec.sample_shard_size
        return self.stages[spec.parents["sample"]].shards[int(shard) * each : (int(shard) + 1) * each]
