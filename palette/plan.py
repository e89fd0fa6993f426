"""Config → experiments → one spec per stage. The workflow and the command line both ask here; nothing is run or written.

fetch ─ prepare ─┬─ train ── sample ── features ── score ── tabulate ── report
                 ├─ mask ─────┘            │
                 └─ extractor ─────────────┘
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TypeVar

from palette.config import BASELINES, Config, Experiment, Model, Sampler, Task
from palette.fingerprint import fingerprint
from palette.spec import (
    ExtractorSpec,
    FeaturesSpec,
    FetchSpec,
    MaskSpec,
    PrepareSpec,
    ReportSpec,
    Row,
    Runtime,
    SampleSpec,
    ScoreSpec,
    Spec,
    TabulateSpec,
    TrainSpec,
)

S = TypeVar("S", bound=Spec)

ARTIFACTS: Mapping[str, tuple[str, ...]] = {
    "fetch": ("manifest.json",),
    "prepare": ("train.zip", "test.zip", "prepare.json"),
    "mask": ("masks.zip", "masks.json"),
    "train": ("model.safetensors", "model.json", "log.jsonl"),
    "extractor": ("extractor.json",),
    "score": ("scores.json",),
}
"""Files of each kind that is made by one job, beside its card."""

SHARD_ARTIFACTS: Mapping[str, tuple[str, ...]] = {
    "sample": ("shard-{shard}.zip", "draws-{shard}.zip", "shard-{shard}.json"),
    "features": ("shard-{shard}.npz", "shard-{shard}.json"),
}
"""Files of each shard of the kinds that are scattered; the last is the shard's card."""


@dataclass(frozen=True)
class Single:
    """An experiment with one value in every field."""

    dataset: str
    task: str | None
    model: str
    sampler: str | None
    seed: int

    @property
    def name(self) -> str:
        """`photos-jpeg-palette-dpm20-s0`: how tables, folders and messages call it."""
        parts = [self.dataset, self.task, self.model, self.sampler]
        return "-".join([p for p in parts if p] + ([] if self.model in BASELINES else [f"s{self.seed}"]))


def _as_tuple(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


def expand(experiment: Experiment) -> Iterator[Single]:
    """The rows that one entry of `experiments` stands for."""
    fields = (experiment.dataset, experiment.task, experiment.model, experiment.sampler, experiment.seed)
    for dataset, task, model, sampler, seed in product(*map(_as_tuple, fields)):
        # The baselines know no chance: one row, whatever the seeds.
        yield Single(dataset, task, model, sampler, 0 if model in BASELINES else seed)  # type: ignore[arg-type]


def evaluations(model: Model, sampler: Sampler | None) -> int:
    """NFE: how often the network runs for one image."""
    if model.objective.kind == "regression" or sampler is None:
        return 1
    return 2 * sampler.steps - 1 if sampler.kind == "heun" else sampler.steps


@dataclass
class Plan:
    """Every stage of a config, by folder. `results`: the folder that all stage folders are relative to."""

    config: Config
    weights: Mapping[str, tuple[Path, str]] = field(default_factory=dict)
    """Pretrained weights at hand: extractor → (file, sha256)."""
    listings: Mapping[str, str] = field(default_factory=dict)
    """Datasets that are folders: dataset → digest of the file names and sizes."""
    stages: dict[str, Spec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows: list[Row] = [self._row(single) for single in self.singles]
        self.tabulate = self._add(self._tabulate())
        self.report = self._add(self._report())

    @property
    def results(self) -> Path:
        return self.config.results

    @cached_property
    def singles(self) -> list[Single]:
        """All experiments, once each, in the order of the config."""
        return list(dict.fromkeys(single for entry in self.config.experiments for single in expand(entry)))

    def of_kind(self, kind: str) -> list[Spec]:
        """The stages of one kind."""
        return [spec for spec in self.stages.values() if spec.kind == kind]

    def _add(self, spec: S) -> S:
        """The stage that equals `spec`: planned before, or new with the fingerprint of its code."""
        spec = spec.model_copy(update={"engine": fingerprint(f"palette.verbs.{spec.kind}")})
        return self.stages.setdefault(spec.folder, spec)  # type: ignore[return-value]

    # ------------------------------------------------------------------------------ one method per kind

    def _prepare(self, dataset: str) -> PrepareSpec:
        options = self.config.datasets[dataset]
        fetch = self._add(FetchSpec(name=dataset, fetch=options.fetch, listing=self.listings.get(dataset)))
        return self._add(PrepareSpec(name=dataset, parents={"fetch": fetch.folder}, prepare=options.prepare))

    def _mask(self, single: Single, task: Task) -> MaskSpec | None:
        prepare = self.config.datasets[single.dataset].prepare
        if (mask := task.evaluation_mask) is None:
            return None
        return self._add(
            MaskSpec(
                name=f"{single.dataset}-{mask}", mask=mask, image_size=prepare.image_size, count=prepare.test_images
            )
        )

    def _train(self, single: Single, task: Task, prepare: PrepareSpec) -> TrainSpec:
        model = self.config.models[single.model]
        mix = model.mix or {task.degradation: 1.0}
        return self._add(
            TrainSpec(
                name=f"{single.dataset}-{single.model if model.mix else f'{task.degradation}-{single.model}'}-s{single.seed}",
                parents={"prepare": prepare.folder},
                runtime=Runtime(**model.train.model_dump(include={"threads", "gpus", "checkpoint_every"})),
                mix=mix,
                image_size=prepare.prepare.image_size,
                network=model.network,
                objective=model.objective,
                seed=single.seed,
                **model.train.model_dump(exclude={"threads", "gpus", "checkpoint_every"}),
            )
        )

    def _sample(
        self, single: Single, task: Task, prepare: PrepareSpec, train: TrainSpec | None, mask: MaskSpec | None
    ) -> SampleSpec:
        sample = self.config.sample
        parents = {"prepare": prepare, "mask": mask, "train": train}
        return self._add(
            SampleSpec(
                name=single.name,
                parents={role: spec.folder for role, spec in parents.items() if spec},
                runtime=Runtime(threads=sample.threads, gpus=1 if train else 0),
                baseline=None if train else "input",
                degradation=task.degradation,
                quality=task.evaluation_quality,
                sampler=self.config.samplers[single.sampler] if single.sampler else None,
                seed=single.seed,
                image_size=prepare.prepare.image_size,
                count=prepare.prepare.test_images,
                batch_size=sample.batch_size,
                shard_size=sample.shard_size,
                draws=sample.draws if single.sampler else 1,
                draw_inputs=sample.draw_inputs,
            )
        )

    def _extractor(self, kind: str, dataset: str, prepare: PrepareSpec) -> ExtractorSpec:
        file, digest = self.weights.get(kind, (None, None))
        return self._add(
            ExtractorSpec(
                name=f"{dataset}-{kind}",
                parents={"prepare": prepare.folder},
                runtime=Runtime(threads=self.config.sample.threads, gpus=1, weights=file),
                extractor=kind,
                photos=self.config.score.photos if kind == "photos" else None,
                image_size=prepare.prepare.image_size,
                sha256=digest,
            )
        )

    def _features(
        self, name: str, extractor: ExtractorSpec, prepare: PrepareSpec, sample: SampleSpec | None
    ) -> FeaturesSpec:
        parents = {"extractor": extractor.folder, "prepare": prepare.folder} | (
            {"sample": sample.folder} if sample else {}
        )
        return self._add(
            FeaturesSpec(
                name=f"{name}-{extractor.extractor}",
                parents=parents,
                runtime=Runtime(threads=self.config.sample.threads, gpus=1, weights=extractor.runtime.weights),
                count=prepare.prepare.test_images,
                shard_size=self.config.sample.shard_size,
            )
        )

    def _score(self, single: Single, prepare: PrepareSpec, sample: SampleSpec | None) -> ScoreSpec:
        score = self.config.score
        parents = {}
        for kind in score.extractors:
            extractor = self._extractor(kind, single.dataset, prepare)
            parents[f"features-{kind}"] = self._features(single.name, extractor, prepare, sample).folder
            parents[f"reference-{kind}"] = self._features(
                f"{single.dataset}-originals", extractor, prepare, None
            ).folder
        return self._add(
            ScoreSpec(
                name=single.name,
                parents=parents,
                extractors=score.extractors,
                count=prepare.prepare.test_images,
                shard_size=self.config.sample.shard_size,
                is_splits=score.is_splits,
                bootstrap=score.bootstrap,
            )
        )

    def _row(self, single: Single) -> Row:
        """All stages of one experiment, and its row."""
        prepare = self._prepare(single.dataset)
        task = self.config.tasks[single.task] if single.task else None
        model = self.config.models.get(single.model)
        mask = self._mask(single, task) if task else None
        train = self._train(single, task, prepare) if task and model else None
        sample = self._sample(single, task, prepare, train, mask) if task else None
        sampler = self.config.samplers[single.sampler] if single.sampler else None
        return Row(
            experiment=single.name,
            dataset=single.dataset,
            task=single.task,
            degradation=task.degradation if task else None,
            condition=str(task.evaluation_mask or task.evaluation_quality or "") or None if task else None,
            model=single.model,
            sampler=single.sampler,
            evaluations=evaluations(model, sampler) if model else None,
            seed=single.seed,
            score=self._score(single, prepare, sample).folder,
            sample=sample.folder if sample else None,
            train=train.folder if train else None,
            prepare=prepare.folder,
            mask=mask.folder if mask else None,
        )

    def _tabulate(self) -> TabulateSpec:
        parents = {f"row-{number}": row.score for number, row in enumerate(self.rows)}
        return TabulateSpec(name="tables", parents=parents, tables=self.config.tables, rows=tuple(self.rows))

    def _report(self) -> ReportSpec:
        report = self.config.report
        return ReportSpec(
            name="report",
            title=report.title,
            inputs=report.inputs,
            draw_inputs=self.config.sample.draw_inputs,
            tables=tuple(self.config.tables),
            tabulate=self.tabulate.hash,
            rows=tuple(self.rows),
        )

    # ------------------------------------------------------------------------------------ files of stages

    def shards(self, spec: Spec) -> list[str]:
        """The names of a scattered stage's shards: `000`, `001`, …"""
        assert isinstance(spec, SampleSpec | FeaturesSpec)
        return [f"{shard:03}" for shard in range(-(-spec.count // spec.shard_size))]

    def outputs(self, folder: str, shard: str | None = None) -> list[str]:
        """What the job of a stage makes, relative to the results folder; of all its shards, or of one."""
        spec = self.stages[folder]
        if spec.kind in SHARD_ARTIFACTS:
            shards = [shard] if shard else self.shards(spec)
            return [f"{folder}/{name.format(shard=s)}" for s in shards for name in SHARD_ARTIFACTS[spec.kind]]
        if isinstance(spec, TabulateSpec):
            return [f"{folder}/{table}.{ending}" for table in spec.tables for ending in ("csv", "md", "tex")] + [
                spec.card
            ]
        if isinstance(spec, ReportSpec):
            return [f"{folder}/index.html", *(f"{folder}/figures/{name}" for name in spec.figures), spec.card]
        return [f"{folder}/{name}" for name in ARTIFACTS[spec.kind]] + [spec.card]

    def inputs(self, folder: str, shard: str | None = None) -> list[str]:
        """What the job of a stage reads. A shard of features reads that shard of the samples only."""
        spec = self.stages[folder]
        if isinstance(spec, ReportSpec):
            row_stages = [f for row in spec.rows for f in (row.sample, row.train, row.prepare, row.mask) if f]
            return [file for f in dict.fromkeys(["tabulate", *row_stages]) for file in self.outputs(f)]
        parents = [(f, shard if self.stages[f].kind == "sample" else None) for f in spec.parents.values()]
        return [file for f, s in dict.fromkeys(parents) for file in self.outputs(f, s)]
