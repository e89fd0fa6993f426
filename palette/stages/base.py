"""Base classes of all specs."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

import yaml
from pydantic import Field, ValidationError

from palette.config.options import Options
from palette.config.renamed import today
from palette.system.files import write_text

if TYPE_CHECKING:
    from palette.planning.plan import Plan

# The C versions are ten times faster, which matters with thousands of specs; PyYAML has them if built with libyaml.
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def digest(content: dict[str, Any]) -> str:
    """Return ten hex digits of a hash of JSON values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def shard_names(count: int, size: int) -> list[str]:
    """Return the names of the shards, of `size` images each, that `count` images fill."""
    return [f"{shard:03}" for shard in range(-(-count // size))]


class Runtime(Options):
    """Options of how a stage is run. They change no result, so the hash does not cover them."""

    threads: int = 1
    """CPU cores."""
    gpus: int = 0
    """GPUs."""
    weights: Path | None = None
    """Path of pretrained weights, as found when the plan was made."""


class Usual(NamedTuple):
    """Resources that a job requests from a cluster if the config says nothing else."""

    memory_gb: float
    """Memory in GB; for `train`, per GPU."""
    hours: float


@dataclass(frozen=True)
class Work:
    """Work of a stage or of one of its jobs, for estimates of its cost."""

    flops: float = 0
    """FLOP of networks."""
    precision: str = "fp32"
    network: str = ""
    """Description of the network in use; jobs with equal ones have comparable times."""
    images: float = 0
    """Images that are read, measured or written."""
    megapixels: float = 0
    """Megapixels of one of them."""
    bytes: float = 0
    """Upper estimate of what is written."""


class Planned(Protocol):
    """Plan of a stage, as far as its work depends on it."""

    @property
    def results(self) -> Path: ...

    @property
    def pictures(self) -> Mapping[str, int]:
        """Number of images of each dataset, where it is known."""

    def parent(self, spec: "Spec", role: str) -> "Spec | None":
        """Return a parent stage; None if there is none of that role, or if it cannot be read."""


class Spec(Options):
    """Base class of all specs."""

    kind: ClassVar[str]
    verb: ClassVar[str]
    """CLI subcommand that runs it."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Kinds of its parents."""
    keeps_old: ClassVar[bool] = True
    """Whether results of several specs exist side by side, each in a folder with its hash."""
    files: ClassVar[tuple[str, ...]] = ()
    """Files that its single job writes into its folder, besides the card."""
    usual: ClassVar[Usual]
    options: ClassVar[Mapping[str, str]] = {}
    """Field → its place in the config; "" for all other fields, whose names are those in the config."""

    name: str
    """Readable name, which says which row or dataset this is."""
    engine: str = ""
    """Fingerprint of the code that runs (`palette/stages/fingerprint.py`)."""
    parents: dict[str, str] = Field(default_factory=dict)
    """Role → folder of the stage that it reads, relative to the results folder."""
    runtime: Runtime = Runtime()

    @cached_property
    def hash(self) -> str:
        """Ten hex digits over everything that the result depends on."""
        return self._digest({"name", "runtime"})

    def _digest(self, exclude: set[str]) -> str:
        return digest(self._content(exclude))

    def _content(self, exclude: set[str]) -> dict[str, Any]:
        """Return what the hash covers."""
        return {"kind": self.kind, **self.model_dump(mode="json", exclude=exclude)}

    def with_options_of(self, facts: Mapping[str, Any], ignored: Collection[str] = ()) -> Self | None:
        """Return another version's spec as this version reads it, if its options equal those of this one.

        facts: content of its spec.yaml. An option that it does not know counts as the default of this version; one that
        this version does not know is a difference. ignored: options that may differ.
        """
        own = {"kind", "hash", "name", "runtime"}
        try:
            other = self.model_validate({"name": self.name} | {k: v for k, v in today(facts).items() if k not in own})
        except ValidationError:
            return None
        not_options = {"name", "runtime", "engine", "parents", *ignored}
        return other if other._content(not_options) == self._content(not_options) else None

    @cached_property
    def folder(self) -> str:
        """Folder of the stage, relative to the results folder: `train/photos-jpeg-palette-s0-1a2b3c4d5e`."""
        return f"{self.kind}/{self.name}-{self.hash}" if self.keeps_old else self.kind

    @cached_property
    def card(self) -> str:
        """Card of a stage with a single job, relative to the results folder.

        It is written last. Shards have their own cards.
        """
        return f"{self.folder}/card.json" if self.keeps_old else f"{self.folder}/card-{self.hash}.json"

    @property
    def shards(self) -> list[str]:
        """Names of the shards; none for a kind with a single job."""
        return []

    @property
    def jobs(self) -> list[str | None]:
        """Shard of each of its jobs; None for the single job of the other kinds."""
        return [*self.shards] or [None]

    @property
    def awaited(self) -> list[str]:
        """Folders of the stages that it waits for."""
        return list(dict.fromkeys(self.parents.values()))

    @classmethod
    def planned(cls, plan: "Plan") -> Iterable["Spec"]:
        """Return the stages of a kind that no row, table or page needs, for a plan that has all others."""
        return ()

    @property
    def artifacts(self) -> tuple[str, ...]:
        """Names of the files that its single job writes before the card."""
        return self.files

    def written(self, shard: str | None = None) -> list[str]:
        """Return the files that all of its jobs write, or the job of one shard; a job's card comes last.

        Paths are relative to the results folder.
        """
        return [*(f"{self.folder}/{name}" for name in self.artifacts), self.card]

    @property
    def cards(self) -> list[str]:
        """Cards that it leaves, one per job, relative to the results folder."""
        return [self.written(shard)[-1] for shard in self.jobs]

    def work(self, planned: Planned, shard: str | None = None) -> Work:
        """Return the work of all jobs, or of the job of one shard, besides starting them."""
        return Work()

    def evaluation(self, planned: Planned, megapixels: float) -> Work:
        """Return the work of the network that this stage makes for one image; none if it makes no network."""
        return Work()

    def text(self) -> str:
        """Return the spec as YAML, in the order of its fields."""
        content = {"kind": self.kind, "hash": self.hash, **self.model_dump(mode="json")}
        return str(yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120))

    def write(self, results: Path) -> Path:
        """Write `spec.yaml` into the stage's folder unless the same text is there; return its path."""
        path = results / self.folder / "spec.yaml"
        text = self.text()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
        return path


class Sharded(Spec):
    """Base class of the kinds with several jobs, each for a shard of the test images."""

    shard_files: ClassVar[tuple[str, ...]]
    """Files that the job of a shard writes, with `{shard}` in place of its name; the last is its card."""
    count: int
    """Number of test images."""
    shard_size: int

    @property
    def shards(self) -> list[str]:
        """Names of the shards: `000`, `001`, …"""
        return shard_names(self.count, self.shard_size)

    def shards_read(self, parent: "Sharded", shard: str) -> list[str]:
        """Return the shards of a parent that have the test images of a shard."""
        first = int(shard) * self.shard_size
        return parent.shards[first // parent.shard_size : -(-(first + self.shard_size) // parent.shard_size)]

    def images(self, shard: str | None) -> range:
        """Return the numbers of the test images in a shard; of all for None."""
        first = 0 if shard is None else int(shard) * self.shard_size
        return range(first, self.count if shard is None else min(self.count, first + self.shard_size))

    def written(self, shard: str | None = None) -> list[str]:
        shards = [shard] if shard else self.shards
        return [f"{self.folder}/{name.format(shard=s)}" for s in shards for name in self.shard_files]
