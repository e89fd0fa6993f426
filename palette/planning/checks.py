"""Config checks: what is rejected before any job starts. Each check yields the problems that it finds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from math import prod
from pathlib import Path
from typing import Any

from palette.config import Config
from palette.config.datasets import Dataset
from palette.config.models import Model
from palette.config.options import MOST
from palette.config.sampling import BASELINES, Sampler
from palette.config.tasks import Task
from palette.data.external_outputs import images_of
from palette.data.masks.supplied import RELEASED, pngs
from palette.data.sources.readers import OWN
from palette.data.sources.registry import built_in
from palette.data.tasks import TASKS
from palette.planning.config_file import Places, Problem, closest, refuse, renamed, unknown, validate, values_at
from palette.planning.dataset_checks import DATASET_CHECKS
from palette.planning.experiments import Single, choices, expand
from palette.publish.tables.published import models, of_table
from palette.stages.listing import listed
from palette.system.progress import say

MOST_JOBS = 500_000
"""Limit on the sampling jobs of a plan, which holds them all in memory."""
RULES = {"all", "plan", "models", "tables", *listed()} - {"tabulate"}
"""Names of the workflow rules that exist for every config."""


Problems = Iterator[Problem]


@dataclass(frozen=True)
class Case:
    """Row of an experiment, with what it names as far as the config defines it."""

    config: Config
    experiment: int
    row: Single
    dataset: Dataset | None
    task: Task | None
    model: Model | None
    sampler: Sampler | None

    @property
    def size(self) -> int:
        return self.dataset.prepare.image_size if self.dataset else 0

    @property
    def training_sets(self) -> dict[str, float]:
        """Dataset → share, for the datasets that the model is trained on here."""
        return self.model.trained_on(self.row.dataset) if self.model and not self.model.released else {}

    def problem(self, field: str, text: str) -> Problem:
        return Problem(("experiments", self.experiment, field), text)


def cases_of(config: Config) -> Iterator[Case]:
    """Yield all rows of a config, in its order."""
    for index, experiment in enumerate(config.experiments):
        for row in expand(experiment, config.models):
            dataset, task = config.datasets.get(row.dataset), config.tasks.get(row.task or "")
            model, sampler = config.models.get(row.model), config.samplers.get(row.sampler or "")
            yield Case(config, index, row, dataset, task, model, sampler)


NAMES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("experiments", "*", "dataset"): ("datasets",),
    ("experiments", "*", "task"): ("tasks",),
    ("experiments", "*", "model"): ("models", "external_outputs"),
    ("experiments", "*", "sampler"): ("samplers",),
    ("datasets", "*", "fetch", "source"): ("registry",),
    ("datasets", "*", "reference"): ("datasets",),
    ("models", "*", "train_on"): ("datasets",),
    ("tables", "*", "published"): ("tasks",),
    ("tables", "*", "models"): ("models",),
}
"""Option that holds a name, a list of names, or a mapping from names → the sections that define them."""
BUILT_IN = {"experiments.*.model": BASELINES, "datasets.*.fetch.source": (*OWN, *built_in())}
"""Option → the names that need no definition in a config."""


def names_exist(raw: Mapping[str, Any]) -> Problems:
    """Check that every name is defined. Reads the raw config, so that a faulty definition still counts."""
    for place, sections in NAMES.items():
        contents = [raw.get(section) for section in sections]
        allowed = [name for content in contents if isinstance(content, Mapping) for name in content]
        allowed += BUILT_IN.get(".".join(place), ())
        kind = "source or published dataset" if place[-1] == "source" else sections[0].removesuffix("s")
        for path, value in values_at(raw, place):
            for name in value if isinstance(value, list | Mapping) else [value]:
                if isinstance(name, str) and name not in allowed:
                    where = (*path, name) if isinstance(value, Mapping) else path
                    yield Problem(where, unknown(kind, name, allowed, "Defined: "))


def plan_is_bounded(config: Config) -> Problems:
    """Check that the rows make no more jobs than a plan can hold."""
    jobs = 0
    for index, experiment in enumerate(config.experiments):
        fields = choices(experiment)
        tested = [config.datasets[str(name)].prepare.test_images for name in fields[0] if name in config.datasets]
        jobs += prod(map(len, fields)) * -(-max(tested, default=1) // config.sample.shard_size)
        if jobs > MOST_JOBS:
            text = f"with those before it, it makes {jobs:,} jobs of sampling; at most {MOST_JOBS:,} can be planned. "
            yield Problem(("experiments", index), f"{text}Leave rows out, or raise `sample.shard_size`.")
            return


# Checks of a row.


def row_fits(case: Case) -> Problems:
    """Check that a row has what its model needs, and nothing that it cannot use."""
    row, model, config = case.row, case.model, case.config
    regression = model is not None and model.objective.kind == "regression"
    if row.model == "originals" and (row.task or row.sampler):
        text = "`originals` are the untouched test images: they take no task and no sampler."
        yield case.problem("model", text)
    if row.model != "originals" and row.task is None:
        yield case.problem("task", f"missing: model {row.model!r} needs one of {', '.join(config.tasks)}.")
    if model and not regression and row.sampler is None:
        samplers = ", ".join(config.samplers) or "samplers (none defined)"
        yield case.problem("sampler", f"missing: diffusion model {row.model!r} needs one of {samplers}.")
    if row.sampler and (regression or row.model in (*config.external_outputs, *BASELINES)):
        yield case.problem("sampler", f"{row.model!r} is not sampled; leave it out.")
    if model and model.mix and case.task and case.task.degradation not in model.mix:
        text = f"model {row.model!r} is a mix of {', '.join(model.mix)}; it never sees {case.task.degradation}."
        yield case.problem("task", text)


def pairs_are_there(case: Case) -> Problems:
    """Check that what is generated from a condition has a dataset with conditions."""
    if case.task and case.task.degradation == "paired":
        needs = f"task {case.row.task!r} (`paired`)"
    elif case.model and "paired" in (case.model.mix or ()):
        needs = f"the mix of model {case.row.model!r}, with `paired`,"
    else:
        return
    for name in dict.fromkeys([case.row.dataset, *case.training_sets]) if case.dataset else ():
        dataset = case.config.datasets.get(name)
        if dataset and (source := dataset.fetch.source) != "pairs":
            text = f"{needs} needs a dataset with `source: pairs`, and {name!r} is `{source}`."
            yield case.problem("dataset", text)


def training_sets_fit(case: Case) -> Problems:
    """Check that a model's training datasets have its image size, and hold back its test images."""
    tested, datasets, place = case.row.dataset, case.config.datasets, ("models", case.row.model, "train_on")
    chosen = case.model.trained_on(tested) if case.model and case.model.train_on else {}
    for name in chosen if chosen.keys() <= datasets.keys() else ():
        size = datasets[name].prepare.image_size
        if case.dataset and size != case.size:
            text = f"{name!r} has images of {size} pixels, and the test images of {tested!r} have {case.size}."
            yield Problem(place, text)
        if case.dataset and name != tested and _share_files(datasets[name], case.dataset):
            text = (
                f"{name!r} and {tested!r} are the same files, each parted in its own way: images that the model "
                "is tested on would be among those that it learns from. Use one dataset, or two folders."
            )
            yield Problem(place, text)


def _share_files(first: Dataset, second: Dataset) -> bool:
    """Return whether two datasets split the same folder: test images of one may be training images of the other."""
    return first.fetch.source == second.fetch.source in ("folder", "pairs") and first.fetch.path == second.fetch.path


def trainings_have_images(case: Case) -> Problems:
    """Check that training datasets have training images, and that some remain when validation images are held out."""
    name = case.row.model
    for dataset, share in case.training_sets.items():
        known = case.config.datasets.get(dataset)
        images = known.prepare.train_images if known else None
        held_out = case.config.models[name].train.validation_images
        if images and images <= held_out * share:
            text = f"{held_out} would leave none of the {images} training images of dataset {dataset!r}. Choose fewer."
            yield Problem(("models", name, "train", "validation_images"), text)
        if images == 0:
            text = (
                f"model {name!r} is trained on dataset {dataset!r}, which has `train_images: 0`. Give it some, "
                f"or name another dataset in models.{name}.train_on."
            )
            yield case.problem("dataset", text)


def size_divides(case: Case) -> Problems:
    """Check that the network can halve the images of the dataset as often as it needs to."""
    size, step = case.size, case.model.network.reduction if case.model else 1
    if size % step:
        text = (
            f"{size} is not a multiple of {step}, by which the network of model {case.row.model!r} reduces images; "
            f"{size // step * step or step} or {-(-size // step) * step} would be."
        )
        yield Problem(("datasets", case.row.dataset, "prepare", "image_size"), text)


def strength_fits(case: Case) -> Problems:
    """Check that images of the tested size can be degraded with the strength of the task."""
    strength = TASKS[case.task.degradation].strength if case.task else None
    if case.task is None or strength is None or case.task.strength is None:
        return
    if misfit := strength.misfit(case.task.strength, case.size):
        yield Problem(("tasks", str(case.row.task), strength.name), f"{misfit} of dataset {case.row.dataset!r}.")


def attention_divides(case: Case) -> Problems:
    """Check that levels with attention consist of whole heads, and with local attention can be cut into four parts."""
    if case.model is None or case.dataset is None or not case.model.network.attends:
        return
    network, place = case.model.network, ("models", case.row.model, "network")
    *levels, middle = zip(network.sides(case.size), network.multipliers, strict=True)
    for side, multiplier in [*(level for level in levels if level[0] in network.attention), middle]:
        channels, heads = network.channels * multiplier, network.head_channels
        if network.backbone == "adm" and channels > heads and channels % heads:
            text = f"{heads} does not divide the {channels} channels of a level with attention."
            yield Problem((*place, "head_channels"), text)
        if network.context == "local-attention" and side % 2:
            text = (
                f"local-attention halves the sides of feature maps, and one of them has {side} pixels. Use images of another "
                "size, fewer `multipliers`, leave that resolution out of `attention`, or take global-attention."
            )
            yield Problem((*place, "context"), text)


def width_is_kept(case: Case) -> Problems:
    """Check that a sampler's average of the weights is kept by the training, or can be made from those that are."""
    width, name = case.sampler.ema_width if case.sampler else None, case.row.model
    if case.model is None or width is None:
        return
    widths = case.model.train.ema_widths
    between = [w for w in widths if w > 0]
    if width not in widths and not (between and min(between) < width < max(between)):
        text = (
            f"model {name!r} keeps {', '.join(f'{w:g}' for w in widths) or 'none'}. Add {width:g} to "
            f"models.{name}.train.ema_widths, or choose a kept width or one between two of them (but for 0)."
        )
        yield Problem(("samplers", str(case.row.sampler), "ema_width"), text)


# Checks of a whole config.


def models_can_train(config: Config, cases: Sequence[Case]) -> Problems:
    """Check that a batch divides evenly, never rounded, and that the longest training reaches milestones and previews."""
    for name, model in config.models.items():
        train, rows = model.train, [case.row for case in cases if case.row.model == name]
        parts = train.devices * train.accumulate
        if train.batch_size % parts:
            text = f"{train.batch_size} cannot be dealt evenly to {train.devices} GPUs × {train.accumulate} micro-batches = {parts}."
            yield Problem(("models", name, "train", "batch_size"), text)
        longest = max((row.steps or train.steps for row in rows), default=train.steps)
        for option, steps in (("milestones", train.milestones), ("preview_every", (train.preview_every,))):
            if late := [step for step in steps if step > longest]:
                text = f"{late[0]} comes after the last step of the longest training, {longest}. Leave it out, or train longer."
                yield Problem(("models", name, "train", option), text)


def tables_have_rows(config: Config, cases: Sequence[Case]) -> Problems:
    """Check that a table's name is free for a target, and that its patterns match rows."""
    rows = list(dict.fromkeys(case.row.name for case in cases))
    for name, table in config.tables.items():
        if name in RULES:
            yield Problem(("tables", name), f"{name!r} is the name of a rule of the workflow; rename the table.")
        for index, pattern in enumerate(table.experiments):
            if not any(fnmatch(row, pattern) for row in rows):
                text = unknown("experiment", pattern, rows, "They are: ")
                yield Problem(("tables", name, "experiments", index), text)


def tables_follow_the_paper(config: Config, cases: Sequence[Case]) -> Problems:
    """Check that a table laid out like one of the paper names rows and images that the paper's table has."""
    for name, table in config.tables.items():
        if table.paper is None:
            continue
        known, subjects = models(table.paper), list(dict.fromkeys(n.dataset for n in of_table(table.paper)))
        for model, repeated in table.models.items():
            if repeated not in known:
                hint = f"{closest(repeated, known)} They are: {'; '.join(known)}."
                text = f"Table {table.paper} of the paper has no row {repeated!r}.{hint}"
                yield Problem(("tables", name, "models", model), text)
        for case in cases:
            published = case.dataset.published if case.dataset else None
            if published not in (None, *subjects) and any(fnmatch(case.row.name, p) for p in table.experiments):
                text = (
                    f"dataset {case.row.dataset!r} is {published} for the paper, "
                    f"and its Table {table.paper} is about {', '.join(subjects)}."
                )
                yield Problem(("tables", name, "experiments"), text)


def names_can_be_used(config: Config, cases: Sequence[Case]) -> Problems:
    """Check that results can have their folder, and that external outputs have names that no model has."""
    if config.results.exists() and not config.results.is_dir():
        yield Problem(("results",), f"{config.results} is a file, and results need a folder.")
    if {"{", "}"} & {*str(config.results)}:
        text = f"{config.results}: Snakemake reads braces as wildcards. Name a folder without them."
        yield Problem(("results",), text)
    for name in config.external_outputs:
        if name in (*config.models, *BASELINES):
            text = f"{name!r} is the name of a model too; rename one of them."
            yield Problem(("external_outputs", name), text)


def sources_are_there(config: Config, cases: Sequence[Case]) -> Problems:
    """Check that the user's folders, archives and models are where the config says."""
    for name, dataset in config.datasets.items():
        fetch, path = dataset.fetch, ("datasets", name, "fetch")
        for option in ("path", "conditions") if fetch.source in ("folder", "pairs") else ():
            if (folder := getattr(fetch, option)) is not None and not folder.is_dir():
                file = " It is a file; `source: archive` reads ZIP and tar files." if folder.exists() else ""
                yield Problem((*path, option), f"no folder {folder}.{file}")
        if fetch.source == "archive" and fetch.path and not fetch.files and not fetch.path.is_file():
            hint = " It is a folder, which `source: folder` reads." if fetch.path.is_dir() else ""
            yield Problem((*path, "path"), f"no archive {fetch.path}.{hint}")
    for name, model in config.models.items():
        if (start := model.train.start_from) is not None and not start.is_file():
            text = f"no file {start}. It is the `model.safetensors` of a training or of `palette import`."
            yield Problem(("models", name, "train", "start_from"), text)


def outputs_are_there(config: Config, cases: Sequence[Case]) -> Problems:
    """Check that external outputs exist, one for each test image."""
    for name, outputs in config.external_outputs.items():
        place = ("external_outputs", name, "path")
        if not outputs.path.is_dir():
            yield Problem(place, f"no folder {outputs.path}.")
            continue
        found = len(images_of(outputs.path))
        for case in cases:
            count = case.dataset.prepare.test_images if case.dataset else found
            if case.row.model == name and found != count:
                text = f"{outputs.path} has {found} images, and dataset {case.row.dataset!r} has {count} test images."
                yield Problem(place, text)


def masks_are_there(config: Config, cases: Sequence[Case]) -> Problems:
    """Check that the user's masks are where the config says, in a folder at least one for each test image."""
    for name, task in config.tasks.items():
        masks, place = task.masks, ("tasks", name)
        if masks is None:
            continue
        if not masks.exists():
            text = f"no file or folder {masks}. Correct the path, or leave `masks` out: then they are drawn."
            yield Problem((*place, "masks"), text)
        if masks.is_file() and task.masks_by is not None:
            text = f"goes with a folder of masks; those in {masks} have no names. Leave it out."
            yield Problem((*place, "masks_by"), text)
        if masks.is_file() and task.mask is None:
            text = f"missing. {masks} is an archive of masks of several areas; say which: {', '.join(RELEASED)}."
            yield Problem((*place, "mask"), text)
        found = len(pngs(masks, task.masks_by == "position")) if masks.is_dir() else MOST
        for case in cases:
            count = case.dataset.prepare.test_images if case.dataset else 0
            if case.row.task == name and found < count:
                text = f"{masks} has {found} PNGs, and dataset {case.row.dataset!r} has {count} test images, each of which needs a mask."
                yield Problem((*place, "masks"), text)


ROW_CHECKS = (
    row_fits,
    pairs_are_there,
    training_sets_fit,
    trainings_have_images,
    size_divides,
    strength_fits,
    attention_divides,
    width_is_kept,
)
CHECKS = (models_can_train, tables_have_rows, tables_follow_the_paper, names_can_be_used)
FILE_CHECKS = (sources_are_there, outputs_are_there, masks_are_there)
"""Checks of files on this machine, which a plan needs, and the cost of a config's models does not."""


def read_config(raw: Mapping[str, Any], files: Sequence[Path], on_this_machine: bool = False) -> Config:
    """Return the config in `raw`, which was read from `files`; print a note for each old name in it.

    on_this_machine: check the user's own files too. Raises one ConfigError that lists every mistake.
    """
    places = Places(files)
    raw, notes, problems = renamed(raw)
    for note in notes:
        say(f"{places(note.path)}: {note.text}")
    config, mistakes = validate(raw)
    if config is not None:
        refuse(list(plan_is_bounded(config)), places)  # before checks that look at every row
    problems += [*mistakes, *names_exist(raw)]
    if config is not None:
        cases = list(cases_of(config))
        problems += [problem for case in cases for check in ROW_CHECKS for problem in check(case)]
        whole = (*CHECKS, *FILE_CHECKS) if on_this_machine else CHECKS
        problems += [problem for check in whole for problem in check(config, cases)]
        problems += [problem for check in DATASET_CHECKS for problem in check(config)]
    refuse(list(dict.fromkeys(problems)), places)
    assert config is not None
    return config
