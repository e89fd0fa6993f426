"""The files between stages: what each job makes, and what it waits for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from palette.spec.base import Spec
from palette.spec.pages import ReportSpec, TabulateSpec
from palette.spec.stages import (
    FeaturesSpec,
    FetchSpec,
    PrepareSpec,
    SampleSpec,
    TrainSpec,
)

ARTIFACTS: Mapping[str, tuple[str, ...]] = {
    "fetch": ("manifest.jsonl",),
    "prepare": ("train.zip", "test.zip", "train-conditions.zip", "test-conditions.zip", "prepare.json"),
    "mask": ("masks.zip", "masks.json", "masks.png"),
    "train": ("model.safetensors", "averages.safetensors", "model.json", "log.jsonl"),
    "released": ("model.safetensors", "model.json"),
    "extractor": ("extractor.json",),
    "statistics": ("statistics.npz",),
    "score": ("scores.json",),
}
"""Files of each kind that is made by one job, beside its card."""

TABLE_FORMATS = ("csv", "md", "tex", "html")
"""Endings of the files that are made of each table."""

SHARD_ARTIFACTS: Mapping[str, tuple[str, ...]] = {
    "sample": ("shard-{shard}.zip", "draws-{shard}.zip", "shard-{shard}.json"),
    "features": ("shard-{shard}.npz", "shard-{shard}.json"),
}
"""Files of each shard of the kinds that are scattered; the last is the shard's card."""


@dataclass
class Graph:
    """Stages by folder, relative to the results folder."""

    results: Path = field(init=False)
    stages: dict[str, Spec] = field(init=False, default_factory=dict)

    def of_kind(self, kind: str) -> list[Spec]:
        """The stages of one kind."""
        return [spec for spec in self.stages.values() if spec.kind == kind]

    def shards(self, spec: Spec) -> list[str]:
        """The names of a scattered stage's shards: `000`, `001`, …"""
        assert isinstance(spec, SampleSpec | FeaturesSpec)
        return [f"{shard:03}" for shard in range(-(-spec.count // spec.shard_size))]

    def has_pairs(self, prepare: PrepareSpec) -> bool:
        """Whether each image of a dataset has a condition."""
        fetch = self.stages[prepare.parents["fetch"]]
        return isinstance(fetch, FetchSpec) and fetch.fetch.source == "pairs"

    def outputs(self, folder: str, shard: str | None = None) -> list[str]:
        """What the job of a stage makes, relative to the results folder; of all its shards, or of one."""
        spec = self.stages[folder]
        if spec.kind in SHARD_ARTIFACTS:
            shards = [shard] if shard else self.shards(spec)
            return [f"{folder}/{name.format(shard=s)}" for s in shards for name in SHARD_ARTIFACTS[spec.kind]]
        if isinstance(spec, TabulateSpec):
            return [*(f"{folder}/{spec.name}.{ending}" for ending in TABLE_FORMATS), spec.card]
        if isinstance(spec, ReportSpec):
            made = (*(f"figures/{name}" for name in spec.figures), *(f"gallery/{name}" for name in spec.gallery_files))
            return [f"{folder}/index.html", *(f"{folder}/{name}" for name in made), spec.card]
        return [f"{folder}/{name}" for name in ARTIFACTS[spec.kind]] + [spec.card]

    def inputs(self, folder: str, shard: str | None = None) -> list[str]:
        """What the job of a stage waits for if nothing is made yet.

        Snakemake looks at each of them for each job, so the many shards name their parents' cards only, which are written
        last. That the parents' other files are there too is asked once, by `score` and `report`.
        """
        spec = self.stages[folder]
        if isinstance(spec, ReportSpec):
            row_stages = [f for row in spec.rows for f in (row.score, row.train, row.prepare, row.mask) if f]
            tables = [table.folder for table in self.of_kind("tabulate")]
            samples = [f for row in spec.rows if (f := row.sample)]
            made = [file for f in dict.fromkeys([*tables, *row_stages]) for file in self.outputs(f)]
            return made + [file for f in dict.fromkeys(samples) for file in self.cards(f)]
        if shard is None:
            made = [file for f in dict.fromkeys(spec.parents.values()) for file in self.outputs(f)]
            # A training waits for the shorter one that it continues.
            shorter = spec.runtime.after if isinstance(spec, TrainSpec) else None
            return [*made, self.stages[shorter].card] if shorter else made
        parents = {role: f for role, f in spec.parents.items() if role != "sample"}
        cards = [self.stages[f].card for f in parents.values()]
        return cards + [file for s in self.sampled(spec, shard) for file in self.outputs(spec.parents["sample"], s)]

    def cards(self, folder: str) -> list[str]:
        """The cards that a stage leaves."""
        spec = self.stages[folder]
        return [f"{folder}/shard-{s}.json" for s in self.shards(spec)] if spec.kind in SHARD_ARTIFACTS else [spec.card]

    def sampled(self, spec: Spec, shard: str) -> list[str]:
        """The shards of samples that a shard of features measures."""
        if not isinstance(spec, FeaturesSpec) or "sample" not in spec.parents:
            return []
        each = spec.shard_size // spec.sample_shard_size
        return self.shards(self.stages[spec.parents["sample"]])[int(shard) * each : (int(shard) + 1) * each]
