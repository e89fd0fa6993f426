"""Plan of a config: config → experiments → one spec per stage. Used by the workflow and the command line; runs nothing.

fetch ─ prepare ─┬─ train ── sample ── features ── score ── tabulate ── report
                 ├─ mask ─────┘            │
                 └─ extractor ─────────────┘
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from palette.config import Config
from palette.config.datasets import Squares
from palette.config.scores import ExtractorKind, Table
from palette.config.tasks import Task
from palette.data.sources.registry import known
from palette.errors import ConfigError
from palette.planning.experiments import Single, evaluations, singles
from palette.planning.graph import Graph
from palette.publish.tables.published import PARAMETERS, metrics
from palette.scoring.extractors import EXTRACTORS, fewest_classes, unable
from palette.stages.base import Runtime, Spec
from palette.stages.extractor import ExtractorRuntime, ExtractorSpec
from palette.stages.features import FeaturesSpec
from palette.stages.fetch import FetchSpec
from palette.stages.fingerprint import fingerprint
from palette.stages.kinds import KINDS
from palette.stages.mask import MaskRuntime, MaskSpec
from palette.stages.prepare import PrepareRuntime, PrepareSpec
from palette.stages.released import ReleasedRuntime, ReleasedSpec
from palette.stages.report import ReportSpec
from palette.stages.rows import Evaluated, GalleryImages, Row
from palette.stages.sample import SampleRuntime, SampleSpec
from palette.stages.score import ScoreSpec
from palette.stages.statistics import StatisticsSpec
from palette.stages.tabulate import TabulateSpec
from palette.stages.train import TrainRuntime, TrainSpec

S = TypeVar("S", bound=Spec)


@dataclass
class Plan(Graph):
    """Stages of a config, and the rows and tables that they lead to."""

    config: Config
    weights: Mapping[str, tuple[Path | None, str]] = field(default_factory=dict)
    """Pretrained weights: extractor → (file, sha256); the file is None if it is still to be supplied."""
    listings: Mapping[str, str] = field(default_factory=dict)
    """Datasets that are folders: dataset → digest of the files' names and sizes."""
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Sorted class names of each dataset, where they are known."""
    outputs_of: Mapping[str, str] = field(default_factory=dict)
    """Folders of external outputs: name → digest of the files' names and sizes."""
    pictures: Mapping[str, int] = field(default_factory=dict)
    """Number of images of each dataset, where it is known."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Other files and folders of the user, as far as they exist: path → SHA-256."""
    short: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Incomplete unpacked copies of published datasets: dataset → path → what is wrong."""

    def __post_init__(self) -> None:
        self.results = self.config.results
        self._prepare = cache(self._prepare)  # type: ignore[method-assign]  # every row asks for the same few
        self.rows: list[Row] = [self._row(single) for single in self.singles]
        self._order_trainings()
        self.tables = [self._tabulate(name, table) for name, table in self.config.tables.items()]
        self.report = self._report()
        for kind in KINDS.values():
            for spec in kind.planned(self):
                self._add(spec)

    @cached_property
    def singles(self) -> list[Single]:
        """All experiments, once each, in the order of the config."""
        return singles(self.config)

    def _add(self, spec: S, parents: Mapping[str, Spec | None] = MappingProxyType({})) -> S:
        """Return the stage that equals `spec`, new or planned before. parents: role → stage, None for one that it lacks."""
        folders = {role: parent.folder for role, parent in parents.items() if parent}
        engine = fingerprint(f"palette.stages.{spec.kind}")
        spec = spec.model_copy(update={"engine": engine, "parents": folders or spec.parents})
        return self.stages.setdefault(spec.folder, spec)  # type: ignore[return-value]

    def _digest(self, path: Path | None) -> str | None:
        return self.digests.get(str(path)) if path else None

    def _prepare(self, dataset: str) -> PrepareSpec:
        options = self.config.datasets[dataset]
        prepare, published = options.prepare, known(self.config, options.fetch)
        fetch = FetchSpec(
            name=dataset,
            runtime=Runtime(threads=options.threads),
            fetch=options.fetch,
            known=published,
            listing=self.listings.get(dataset),
        )
        uncounted = dataset not in self.classes and any(single.dataset == dataset for single in self.singles)
        runtime = PrepareRuntime(
            threads=options.threads,
            classes=fewest_classes(self.config.score.extractors) if uncounted else 1,
            **prepare.model_dump(include={"bad_limit", "strict", "test_list"}),
        )
        spec = PrepareSpec(
            name=dataset,
            runtime=runtime,
            prepare=Squares(**prepare.model_dump(include=set(Squares.model_fields))),
            test_list_sha256=self._digest(prepare.test_list),
        )
        return self._add(spec, {"fetch": self._add(fetch)})

    def _mask(self, task: Task, prepare: PrepareSpec) -> MaskSpec | None:
        if (mask := task.evaluation_mask) is None:
            return None
        spec = MaskSpec(
            name=f"{prepare.name}-{mask}",
            runtime=MaskRuntime(masks=task.masks),
            mask=mask,
            masks_sha256=self._digest(task.masks),
            masks_by=task.masks_by,
            image_size=prepare.prepare.image_size,
            count=prepare.prepare.test_images,
        )
        # Not `is_dir()`, because a job may not be able to see the folder.
        named = task.masks is not None and task.masks_by != "position"
        return self._add(spec, {"prepare": prepare if named else None})

    def _train(self, single: Single, task: Task, prepare: PrepareSpec) -> TrainSpec | ReleasedSpec:
        """Return the training of a row's model, shared by rows with other test sets, or the released model in its place."""
        model = self.config.models[single.model]
        if model.released:
            return self._add(
                ReleasedSpec(
                    name=single.model,
                    runtime=ReleasedRuntime(card=model.released.card),
                    sha256=model.released.sha256,
                    image_size=prepare.prepare.image_size,
                    objective=model.objective.kind,
                )
            )
        shares = model.trained_on(single.dataset)
        roles = {name: "prepare" if len(shares) == 1 else f"prepare-{name}" for name in shares}
        parents = {roles[name]: self._prepare(name) for name in shares}
        task_and_model = single.model if model.mix else f"{task.degradation}-{single.model}"
        options = model.train.model_dump(exclude=set(TrainRuntime.model_fields))
        if single.steps:
            options["steps"] = single.steps
        spec = TrainSpec(
            name=f"{'+'.join(shares)}-{task_and_model}-s{single.seed}",
            sources={roles[name]: share for name, share in shares.items()},
            runtime=TrainRuntime(**model.train.model_dump(include=set(TrainRuntime.model_fields))),
            mix=model.mix or {task.degradation: 1.0},
            image_size=next(iter(parents.values())).prepare.image_size,
            network=model.network,
            objective=model.objective,
            seed=single.seed,
            start_sha256=self._digest(model.train.start_from),
            **options,
        )
        return self._add(spec, parents)

    def _order_trainings(self) -> None:
        """Let trainings that share a state run one after the other, the shorter first; no hash covers this order."""
        shorter: dict[str, str] = {}
        for spec in sorted((s for s in self.stages.values() if isinstance(s, TrainSpec)), key=lambda s: s.steps):
            if spec.state_key in shorter:
                runtime = spec.runtime.model_copy(update={"after": shorter[spec.state_key]})
                self.stages[spec.folder] = spec.model_copy(update={"runtime": runtime})
            shorter[spec.state_key] = spec.folder

    def _sample(self, single: Single, task: Task, parents: Mapping[str, Spec | None]) -> SampleSpec:
        sample, outputs = self.config.sample, self.config.external_outputs.get(single.model)
        prepare, trained = self.config.datasets[single.dataset].prepare, parents["train"] is not None
        folder = outputs.path if outputs else None
        spec = SampleSpec(
            name=single.name,
            runtime=SampleRuntime(threads=sample.threads, gpus=1 if trained else 0, folder=folder),
            baseline=None if trained else "folder" if outputs else "input",
            outputs=self.outputs_of.get(single.model),
            match_by=outputs.match_by if outputs else None,
            degradation=task.degradation,
            strength=task.strength,
            sampler=self.config.samplers[single.sampler] if single.sampler else None,
            seed=single.seed,
            image_size=prepare.image_size,
            count=prepare.test_images,
            batch_size=sample.batch_size,
            shard_size=sample.shard_size,
            draws=sample.draws if single.sampler else 1,
            draw_inputs=sample.draw_inputs,
        )
        return self._add(spec, parents)

    def _reasons(self, dataset: str) -> dict[ExtractorKind, str | None]:
        """Return extractor → why it cannot measure a dataset, None if it can."""
        size, classes = self.config.datasets[dataset].prepare.image_size, self.classes.get(dataset)
        return {kind: unable(kind, size, classes) for kind in self.config.score.extractors}

    def extractors(self, dataset: str) -> list[ExtractorKind]:
        """Return the extractors that can measure a dataset. Raises ConfigError if there are none.

        One without a network is used only if there is no other, because the first one measures the pixels too.
        """
        reasons = self._reasons(dataset)
        able = [kind for kind, reason in reasons.items() if reason is None]
        if not able:
            lines = "".join(f"\n  {kind}: {reason}" for kind, reason in reasons.items())
            raise ConfigError(f"score.extractors: none of them can measure dataset {dataset!r}.{lines}")
        return [kind for kind in able if not EXTRACTORS[kind].bare] or able[:1]

    @property
    def notes(self) -> list[str]:
        """Messages on what is left out, and why."""
        return [
            f"{dataset} is not measured with {kind}: {reason}"
            for dataset in dict.fromkeys(single.dataset for single in self.singles)
            for kind, reason in self._reasons(dataset).items()
            if reason
        ]

    def _extractor(self, kind: ExtractorKind, dataset: str, prepare: PrepareSpec) -> ExtractorSpec:
        if kind == "photos" and prepare.prepare.train_images == 0:
            text = "0, but the extractor `photos` learns from them. Raise it, or drop `photos` from `score.extractors`."
            raise ConfigError(f"datasets.{dataset}.prepare.train_images: {text}")
        score, (weights, digest) = self.config.score, self.weights.get(kind, (None, None))
        threads = self.config.sample.threads
        of_dataset = kind == "photos" or EXTRACTORS[kind].imagenet
        spec = ExtractorSpec(
            name=f"{dataset}-{kind}" if of_dataset else kind,
            runtime=ExtractorRuntime(threads=threads, gpus=1, weights=weights, download=score.download),
            extractor=kind,
            photos=score.photos if kind == "photos" else None,
            sha256=digest,
        )
        return self._add(spec, {"prepare": prepare if of_dataset else None})

    def _features(
        self, name: str, extractor: ExtractorSpec, prepare: PrepareSpec, sample: SampleSpec | None, pixels: bool
    ) -> FeaturesSpec:
        spec = FeaturesSpec(
            name=f"{name}-{extractor.extractor}",
            runtime=Runtime(threads=self.config.sample.threads, gpus=1, weights=extractor.runtime.weights),
            count=prepare.prepare.test_images,
            shard_size=self.features_shard_size,
            sample_shard_size=self.config.sample.shard_size,
            pixels=pixels,
        )
        return self._add(spec, {"extractor": extractor, "prepare": prepare, "sample": sample})

    @property
    def features_shard_size(self) -> int:
        """Test images per job that measures them: as configured, but whole shards of samples, at least one."""
        sampled = self.config.sample.shard_size
        return max(1, self.config.score.shard_size // sampled) * sampled

    def _score(self, single: Single, prepare: PrepareSpec, sample: SampleSpec | None) -> ScoreSpec:
        score, reference = self.config.score, self.config.datasets[single.dataset].reference
        extractors = self.extractors(single.dataset)
        parents: dict[str, Spec | None] = {}
        for number, kind in enumerate(extractors):
            extractor, pixels = self._extractor(kind, single.dataset, prepare), number == 0
            parents[f"extractor-{kind}"] = extractor
            parents[f"features-{kind}"] = self._features(single.name, extractor, prepare, sample, pixels)
            if EXTRACTORS[kind].features or pixels:
                originals = self._features(f"{single.dataset}-originals", extractor, prepare, None, pixels)
                parents[f"originals-{kind}"] = originals
            if EXTRACTORS[kind].features and reference:
                originals = self._features(f"{reference}-originals", extractor, self._prepare(reference), None, pixels)
                parents[f"reference-{kind}"] = originals
            if EXTRACTORS[kind].features:  # of the set that rows are compared with, once for all rows
                runtime = Runtime(threads=self.config.sample.threads)
                statistics = StatisticsSpec(
                    name=originals.name, runtime=runtime, count=originals.count, shard_size=originals.shard_size
                )
                parents[f"statistics-{kind}"] = self._add(statistics, {"features": originals})
        spec = ScoreSpec(
            name=single.name,
            extractors=tuple(extractors),
            count=prepare.prepare.test_images,
            reference_count=self.config.datasets[reference].prepare.test_images if reference else None,
            shard_size=self.features_shard_size,
            is_splits=score.is_splits,
            pd=score.pd,
            bootstrap=score.bootstrap,
        )
        return self._add(spec, parents)

    def _row(self, single: Single) -> Row:
        """Plan all stages of one experiment, and return its row."""
        prepare, model = self._prepare(single.dataset), self.config.models.get(single.model)
        task = self.config.tasks[single.task] if single.task else None
        sampler = self.config.samplers[single.sampler] if single.sampler else None
        mask = self._mask(task, prepare) if task else None
        train = self._train(single, task, prepare) if task and model else None
        sample = self._sample(single, task, {"prepare": prepare, "mask": mask, "train": train}) if task else None
        return Row(
            experiment=single.name,
            dataset=single.dataset,
            task=single.task,
            degradation=task.degradation if task else None,
            condition=task.condition if task else None,
            model=single.model,
            sampler=single.sampler,
            evaluations=evaluations(model, sampler) if model else None,
            seed=single.seed,
            steps=single.steps,
            score=self._score(single, prepare, sample).folder,
            sample=sample.folder if sample else None,
            train=train.folder if train else None,
            prepare=prepare.folder,
            mask=mask.folder if mask else None,
        )

    def _tabulate(self, name: str, table: Table) -> TabulateSpec:
        """Return the stage of a table, which reads the scores of its rows, and their trainings if it lists parameters."""
        rows = [row for row in self.rows if any(fnmatchcase(row.experiment, p) for p in table.experiments)]
        parents = {f"row-{number}": row.score for number, row in enumerate(rows)}
        if table.paper is not None and PARAMETERS in metrics(table.paper):
            parents |= {f"train-{number}": row.train for number, row in enumerate(rows) if row.train}
        datasets = {row.dataset: self._tested(row.dataset) for row in rows}
        return self._add(TabulateSpec(name=name, parents=parents, table=table, rows=tuple(rows), datasets=datasets))

    def _tested(self, name: str) -> Evaluated:
        dataset = self.config.datasets[name]
        reference = self.config.datasets[dataset.reference].prepare.test_images if dataset.reference else None
        return Evaluated(
            published=dataset.published,
            image_size=dataset.prepare.image_size,
            images=dataset.prepare.test_images,
            reference_images=reference,
        )

    def _report(self) -> ReportSpec:
        """Return the stage of the pages; the gallery has the first test images of each dataset."""
        report, sample = self.config.report, self.config.sample
        datasets = dict.fromkeys(row.dataset for row in self.rows if report.gallery_images)
        prepared = {name: self.config.datasets[name].prepare for name in datasets}
        gallery = {
            name: GalleryImages(images=min(report.gallery_images, prepare.test_images), size=prepare.image_size)
            for name, prepare in prepared.items()
        }
        return self._add(
            ReportSpec(
                name="report",
                title=report.title,
                inputs=report.inputs,
                draws=sample.draws,
                draw_inputs=sample.draw_inputs,
                tables={table.name: table.hash for table in self.tables},
                rows=tuple(self.rows),
                gallery=gallery,
            )
        )
