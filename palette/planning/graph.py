"""Files between stages: what each job makes, and what it waits for."""

from dataclasses import dataclass, field
from pathlib import Path

from palette.stages.base import Sharded, Spec


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

        Snakemake checks each of them for each job, so the many shards name only the cards of parents with a single job,
        which are written last; and the report only those of the samples, whose scores have checked the rest.
        """
        spec = self.stages[folder]
        parents = [self.stages[parent] for parent in spec.awaited]
        if shard is None and spec.keeps_old:
            return [file for parent in parents for file in parent.written()]
        files: list[str] = []
        for parent in parents:
            if shard is None:
                files += parent.cards if isinstance(parent, Sharded) else parent.written()
            elif isinstance(parent, Sharded) and isinstance(spec, Sharded):
                files += [file for part in spec.shards_read(parent, shard) for file in parent.written(part)]
            else:
                files.append(parent.card)
        return files
