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
from typing import TypeVar

from palette.config import Config
from palette.config.datasets import Squares
from palette.config.models import Model, Released
from palette.config.scores import ExtractorKind, Table
from palette.config.tasks import Task
from palette.data.sources.registry import known
from palette.errors import ConfigError
from palette.planning.experiments import Single, evaluations, singles
from palette.planning.graph import Graph
from palette.publish.tables.published import PARAMETERS, metrics
from palette.scoring.extractor_facts import KINDS, fewest_classes, unable
from palette.stages.base import Runtime, Spec
from palette.stages.extractor import ExtractorRuntime, ExtractorSpec
from palette.stages.features import FeaturesSpec
from palette.stages.fetch import FetchSpec
from palette.stages.fingerprint import fingerprint
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
        self.tables = [self._add(self._tabulate(name, table)) for name, table in self.config.tables.items()]
        self.report = self._add(self._report())

    @cached_property
    def singles(self) -> list[Single]:
        """All experiments, once each, in the order of the config."""
        return singles(self.config)

    def _add(self, spec: S) -> S:
        """Return the stage that equals `spec`: planned before, or new with the fingerprint of its code."""
        spec = spec.model_copy(update={"engine": fingerprint(f"palette.stages.{spec.kind}")})
        return self.stages.setdefault(spec.folder, spec)  # type: ignore[return-value]

    def _digest(self, path: Path | None) -> str | None:
        return self.digests.get(str(path)) if path else None

    # ------------------------------------------------------------------------------ one method per kind

    def _prepare(self, dataset: str) -> PrepareSpec:
        options = self.config.datasets[dataset]
        runtime, listing = Runtime(threads=options.threads), self.listings.get(dataset)
        published, prepare = known(self.config, options.fetch), options.prepare
        unsure = dataset not in self.classes and any(single.dataset == dataset for single in self.singles)
        spec = FetchSpec(name=dataset, runtime=runtime, fetch=options.fetch, known=published, listing=listing)
        fetch = self._add(spec)
        return self._add(
            PrepareSpec(
                name=dataset,
                parents={"fetch": fetch.folder},
                runtime=PrepareRuntime(
                    threads=options.threads,
                    classes=fewest_classes(self.config.score.extractors) if unsure else 1,
                    **prepare.model_dump(include={"bad_limit", "strict", "test_list"}),
                ),
                prepare=Squares(**prepare.model_dump(include=set(Squares.model_fields))),
                test_list_sha256=self._digest(prepare.test_list),
            )
        )

    def _mask(self, task: Task, prepare: PrepareSpec) -> MaskSpec | None:
        if (mask := task.evaluation_mask) is None:
            return None
        # Not `is_dir()`, because a job may not be able to see the folder.
        named = task.masks is not None and task.masks_by != "position"
        return self._add(
            MaskSpec(
                name=f"{prepare.name}-{mask}",
                parents={"prepare": prepare.folder} if named else {},
                runtime=MaskRuntime(masks=task.masks),
                mask=mask,
                masks_sha256=self._digest(task.masks),
                masks_by=task.masks_by,
                image_size=prepare.prepare.image_size,
                count=prepare.prepare.test_images,
            )
        )

    def _released(self, single: Single, model: Model, released: Released, prepare: PrepareSpec) -> ReleasedSpec:
        return self._add(
            ReleasedSpec(
                name=single.model,
                runtime=ReleasedRuntime(card=released.card),
                sha256=released.sha256,
                image_size=prepare.prepare.image_size,
                objective=model.objective.kind,
            )
        )

    def _train(self, single: Single, task: Task, prepare: PrepareSpec) -> TrainSpec | ReleasedSpec:
        """Return the training of a row's model, or the released model in its place.

        It does not depend on how the model is tested, so rows with several test sets share it.
        """
        model = self.config.models[single.model]
        if model.released:
            return self._released(single, model, model.released, prepare)
        mix = model.mix or {task.degradation: 1.0}
        shares = model.trained_on(single.dataset)
        roles = {name: "prepare" if len(shares) == 1 else f"prepare-{name}" for name in shares}
        prepared = {name: self._prepare(name) for name in shares}
        what = single.model if model.mix else f"{task.degradation}-{single.model}"
        return self._add(
            TrainSpec(
                name=f"{'+'.join(shares)}-{what}-s{single.seed}",
                parents={roles[name]: spec.folder for name, spec in prepared.items()},
                sources={roles[name]: share for name, share in shares.items()},
                runtime=TrainRuntime(**model.train.model_dump(include=set(TrainRuntime.model_fields))),
                mix=mix,
                image_size=next(iter(prepared.values())).prepare.image_size,
                network=model.network,
                objective=model.objective,
                seed=single.seed,
                start_sha256=self._digest(model.train.start_from),
                **model.train.model_dump(exclude=set(TrainRuntime.model_fields))
                | ({"steps": single.steps} if single.steps else {}),
            )
        )

    def _order_trainings(self) -> None:
        """Let trainings that share a state run one after the other, the shorter first.

        Their hashes do not cover this order.
        """
        shorter: dict[str, str] = {}
        for spec in sorted((s for s in self.stages.values() if isinstance(s, TrainSpec)), key=lambda s: s.steps):
            if spec.state_key in shorter:
                runtime = spec.runtime.model_copy(update={"after": shorter[spec.state_key]})
                self.stages[spec.folder] = spec.model_copy(update={"runtime": runtime})
            shorter[spec.state_key] = spec.folder

    def _sample(
        self,
        single: Single,
        task: Task,
        prepare: PrepareSpec,
        train: TrainSpec | ReleasedSpec | None,
        mask: MaskSpec | None,
    ) -> SampleSpec:
        sample = self.config.sample
        parents = {"prepare": prepare, "mask": mask, "train": train}
        outputs = self.config.folders.get(single.model)
        return self._add(
            SampleSpec(
                name=single.name,
                parents={role: spec.folder for role, spec in parents.items() if spec},
                runtime=SampleRuntime(
                    threads=sample.threads, gpus=1 if train else 0, folder=outputs.path if outputs else None
                ),
                baseline=None if train else "folder" if outputs else "input",
                outputs=self.outputs_of.get(single.model),
                match_by=outputs.match_by if outputs else None,
                degradation=task.degradation,
                quality=task.evaluation_quality,
                factor=task.evaluation_factor,
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

    def extractors(self, dataset: str) -> list[ExtractorKind]:
        """Return the extractors that can measure a dataset. Raises ConfigError if there are none.

        One without a network is used only if there is no other, because the first one measures the pixels too.
        """
        size = self.config.datasets[dataset].prepare.image_size
        asked = self.config.score.extractors
        able = [kind for kind in asked if unable(kind, size, self.classes.get(dataset)) is None]
        if not able:
            reasons = [f"\n  {kind}: {unable(kind, size, self.classes.get(dataset))}" for kind in asked]
            raise ConfigError(f"score.extractors: none of them can measure dataset {dataset!r}.{''.join(reasons)}")
        return [kind for kind in able if not KINDS[kind].bare] or able[:1]

    @property
    def notes(self) -> list[str]:
        """Messages on what is left out, and why."""
        return [
            f"{dataset} is not measured with {kind}: {reason}"
            for dataset in dict.fromkeys(single.dataset for single in self.singles)
            for kind in self.config.score.extractors
            if (reason := unable(kind, self.config.datasets[dataset].prepare.image_size, self.classes.get(dataset)))
        ]

    def _extractor(self, kind: ExtractorKind, dataset: str, prepare: PrepareSpec) -> ExtractorSpec:
        if kind == "photos" and prepare.prepare.train_images == 0:
            text = "0, but the extractor `photos` learns from them. Raise it, or drop `photos` from `score.extractors`."
            raise ConfigError(f"datasets.{dataset}.prepare.train_images: {text}")
        file, digest = self.weights.get(kind, (None, None))
        of_dataset = kind == "photos" or KINDS[kind].imagenet
        score, threads = self.config.score, self.config.sample.threads
        return self._add(
            ExtractorSpec(
                name=f"{dataset}-{kind}" if of_dataset else kind,
                parents={"prepare": prepare.folder} if of_dataset else {},
                runtime=ExtractorRuntime(threads=threads, gpus=1, weights=file, download=score.download),
                extractor=kind,
                photos=score.photos if kind == "photos" else None,
                sha256=digest,
            )
        )

    def _features(
        self, name: str, extractor: ExtractorSpec, prepare: PrepareSpec, sample: SampleSpec | None, pixels: bool
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
                shard_size=self.features_shard_size,
                sample_shard_size=self.config.sample.shard_size,
                pixels=pixels,
            )
        )

    @property
    def features_shard_size(self) -> int:
        """Test images per job that measures them: as configured, but whole shards of samples, at least one."""
        sampled = self.config.sample.shard_size
        return max(1, self.config.score.shard_size // sampled) * sampled

    def _statistics(self, features: FeaturesSpec) -> StatisticsSpec:
        """Return the statistics stage of the set that rows are compared with, one for all rows."""
        return self._add(
            StatisticsSpec(
                name=features.name,
                parents={"features": features.folder},
                runtime=Runtime(threads=self.config.sample.threads),
                count=features.count,
                shard_size=features.shard_size,
            )
        )

    def _score(self, single: Single, prepare: PrepareSpec, sample: SampleSpec | None) -> ScoreSpec:
        score, reference = self.config.score, self.config.datasets[single.dataset].reference
        extractors = self.extractors(single.dataset)
        parents: dict[str, str] = {}
        for number, kind in enumerate(extractors):
            extractor, pixels = self._extractor(kind, single.dataset, prepare), number == 0
            parents[f"extractor-{kind}"] = extractor.folder
            parents[f"features-{kind}"] = self._features(single.name, extractor, prepare, sample, pixels).folder
            if KINDS[kind].features or pixels:
                originals = self._features(f"{single.dataset}-originals", extractor, prepare, None, pixels)
                parents[f"originals-{kind}"] = originals.folder
            if KINDS[kind].features and reference:
                originals = self._features(f"{reference}-originals", extractor, self._prepare(reference), None, pixels)
                parents[f"reference-{kind}"] = originals.folder
            if KINDS[kind].features:
                parents[f"statistics-{kind}"] = self._statistics(originals).folder
        return self._add(
            ScoreSpec(
                name=single.name,
                parents=parents,
                extractors=tuple(extractors),
                count=prepare.prepare.test_images,
                reference_count=self.config.datasets[reference].prepare.test_images if reference else None,
                shard_size=self.features_shard_size,
                is_splits=score.is_splits,
                pd=score.pd,
                bootstrap=score.bootstrap,
            )
        )

    def _row(self, single: Single) -> Row:
        """Plan all stages of one experiment, and return its row."""
        prepare = self._prepare(single.dataset)
        task = self.config.tasks[single.task] if single.task else None
        model = self.config.models.get(single.model)
        mask = self._mask(task, prepare) if task else None
        train = self._train(single, task, prepare) if task and model else None
        sample = self._sample(single, task, prepare, train, mask) if task else None
        sampler = self.config.samplers[single.sampler] if single.sampler else None
        return Row(
            experiment=single.name,
            dataset=single.dataset,
            task=single.task,
            degradation=task.degradation if task else None,
            condition=str(task.evaluation_mask or task.evaluation_quality or task.evaluation_factor or "") or None
            if task
            else None,
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
        """Return the stage of a table, which reads the scores of its own rows alone.

        A table of the paper that lists parameters reads the trainings of its rows too.
        """
        chosen = (
            row for row in self.rows if any(fnmatchcase(row.experiment, pattern) for pattern in table.experiments)
        )
        rows = tuple(chosen)
        parents = {f"row-{number}": row.score for number, row in enumerate(rows)}
        if table.paper is not None and PARAMETERS in metrics(table.paper):
            parents |= {f"train-{number}": row.train for number, row in enumerate(rows) if row.train}
        return TabulateSpec(
            name=name,
            parents=parents,
            table=table,
            rows=rows,
            datasets={row.dataset: self._tested(row.dataset) for row in rows},
        )

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
        report = self.config.report
        return ReportSpec(
            name="report",
            title=report.title,
            inputs=report.inputs,
            draws=self.config.sample.draws,
            draw_inputs=self.config.sample.draw_inputs,
            tables={table.name: table.hash for table in self.tables},
            rows=tuple(self.rows),
            gallery=self._gallery(report.gallery_images),
        )

    def _gallery(self, most: int) -> dict[str, GalleryImages]:
        """Return the images of each dataset in the gallery: the first `most` test images."""
        used = dict.fromkeys(row.dataset for row in self.rows if most)
        prepared = {name: self.config.datasets[name].prepare for name in used}
        return {name: GalleryImages(images=min(most, p.test_images), size=p.image_size) for name, p in prepared.items()}
