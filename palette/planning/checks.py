"""Config checks: what is rejected before any job starts. Each check yields the problems that it finds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from math import prod
from pathlib import Path
from typing import Any

from palette.config import Config
from palette.config.datasets import Dataset
from palette.config.models import Network
from palette.config.sampling import BASELINES, Experiment
from palette.data.external_outputs import images_of
from palette.data.masks.supplied import RELEASED, pngs
from palette.data.tasks import TASKS
from palette.planning.config_file import Places, Problem, closest, refuse, validate
from palette.planning.dataset_checks import DATASET_CHECKS, sources_exist
from palette.planning.experiments import Single, choices, expand, singles
from palette.publish.tables.published import models, of_table

Check = Callable[[Config], Iterator[Problem]]
MOST_JOBS = 500_000
"""Limit on the sampling jobs of a plan, which holds them all in memory."""
RULES = (
    *("all", "plan", "models", "tables", "fetch", "prepare", "mask", "train"),
    *("released", "sample", "extractor", "features", "statistics", "score", "report"),
)
"""Names of the workflow rules that exist for every config."""


def names_exist(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Check that every name in an experiment is defined in its section.

    Reads the raw config, so that a faulty definition still counts.
    """
    named = {field: raw.get(f"{field}s") for field in ("dataset", "task", "model", "sampler")}
    sections = {field: section if isinstance(section, Mapping) else {} for field, section in named.items()}
    folders = raw.get("folders")
    others = [*(folders if isinstance(folders, Mapping) else ()), *BASELINES]
    experiments = raw.get("experiments")
    for index, experiment in enumerate(experiments if isinstance(experiments, list) else ()):
        for field, section in sections.items():
            allowed = [*section, *(others if field == "model" else ())]
            value = experiment.get(field) if isinstance(experiment, Mapping) else None
            for name in value if isinstance(value, list) else [value]:
                if isinstance(name, str) and name not in allowed:
                    choice = f" Defined: {', '.join(map(str, allowed)) or 'none'}."
                    text = f"no {field} is called {name!r}.{closest(name, allowed)}{choice}"
                    yield Problem(("experiments", index, field), text)


def _row_fits(config: Config, experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yield what is missing from, or must not be in, the rows of one experiment: field and text."""
    for row in expand(experiment, config.models):
        model = config.models.get(row.model)
        if row.model == "originals" and (row.task or row.sampler):
            yield "model", "`originals` are the untouched test images: they take no task and no sampler."
        if row.model != "originals" and row.task is None:
            yield "task", f"missing: model {row.model!r} needs one of {', '.join(config.tasks)}."
        if model and model.objective.kind != "regression" and row.sampler is None:
            yield (
                "sampler",
                f"missing: diffusion model {row.model!r} needs one of {', '.join(config.samplers) or 'samplers (none defined)'}.",
            )
        unsampled = model.objective.kind == "regression" if model else row.model in (*config.folders, *BASELINES)
        if row.sampler and unsampled:
            yield "sampler", f"{row.model!r} is not sampled; leave it out."
        task = config.tasks.get(row.task or "")
        if model and model.mix and task and task.degradation not in model.mix:
            yield "task", f"model {row.model!r} is a mix of {', '.join(model.mix)}; it never sees {task.degradation}."


def plan_is_bounded(config: Config) -> Iterator[Problem]:
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


def rows_fit(config: Config) -> Iterator[Problem]:
    """Check that each row has what its model needs, and nothing that it cannot use."""
    for index, experiment in enumerate(config.experiments):
        for field, text in dict.fromkeys(_row_fits(config, experiment)):
            yield Problem(("experiments", index, field), text)


def sizes_divide(config: Config) -> Iterator[Problem]:
    """Check that each model's network can halve the images of its datasets as often as it needs to."""
    for row in singles(config):
        model, dataset = config.models.get(row.model), config.datasets.get(row.dataset)
        if model and dataset and dataset.prepare.image_size % model.network.reduction:
            size, step = dataset.prepare.image_size, model.network.reduction
            near = f"{size // step * step or step} or {-(-size // step) * step}"
            text = f"{size} is not a multiple of {step}, by which the network of model {row.model!r} reduces images; {near} would be."
            yield Problem(("datasets", row.dataset, "prepare", "image_size"), text)


def _asks_for_pairs(config: Config, row: Single) -> str | None:
    task, model = config.tasks.get(row.task or ""), config.models.get(row.model)
    if task and task.degradation == "paired":
        return f"task {row.task!r} (`paired`)"
    return f"the mix of model {row.model!r}, with `paired`," if model and "paired" in (model.mix or ()) else None


def _learned(config: Config, row: Single) -> dict[str, float]:
    """Return dataset → share for the datasets that a row's model is trained on here."""
    model = config.models.get(row.model)
    return model.trained_on(row.dataset) if model and not model.released else {}


def pairs_are_there(config: Config) -> Iterator[Problem]:
    """Check that what is generated from a condition has a dataset with conditions."""
    for index, experiment in enumerate(config.experiments):
        for row in expand(experiment, config.models):
            dataset, who = config.datasets.get(row.dataset), _asks_for_pairs(config, row)
            names = dict.fromkeys([row.dataset, *_learned(config, row)])
            for name in names if dataset and who else ():
                if name in config.datasets and (source := config.datasets[name].fetch.source) != "pairs":
                    text = f"{who} needs a dataset with `source: pairs`, and {name!r} is `{source}`."
                    yield Problem(("experiments", index, "dataset"), text)


def training_sets_fit(config: Config) -> Iterator[Problem]:
    """Check that a model's training datasets exist, have its image size, and hold back its test images."""
    rows = singles(config)
    for name, model in config.models.items():
        place = ("models", name, "train_on")
        named = [model.train_on] if isinstance(model.train_on, str) else list(model.train_on or ())
        for dataset in named:
            if dataset not in config.datasets:
                choice = f" Defined: {', '.join(config.datasets)}."
                yield Problem(place, f"no dataset is called {dataset!r}.{closest(dataset, config.datasets)}{choice}")
        if not named or not set(named) <= config.datasets.keys():
            continue
        for row in (row for row in rows if row.model == name):
            if (tested := config.datasets.get(row.dataset)) is None:
                continue
            for dataset in named:
                learned = config.datasets[dataset]
                sizes = (learned.prepare.image_size, tested.prepare.image_size)
                if sizes[0] != sizes[1]:
                    text = f"{dataset!r} has images of {sizes[0]} pixels, and the test images of {row.dataset!r} have {sizes[1]}."
                    yield Problem(place, text)
                if dataset != row.dataset and _share_files(learned, tested):
                    text = (
                        f"{dataset!r} and {row.dataset!r} are the same files, each parted in its own way: images that the model "
                        "is tested on would be among those that it learns from. Use one dataset, or two folders."
                    )
                    yield Problem(place, text)


def _share_files(first: Dataset, second: Dataset) -> bool:
    """Return whether two datasets split the same folder.

    Then the test images of one may be training images of the other.
    """
    return first.fetch.source == second.fetch.source in ("folder", "pairs") and first.fetch.path == second.fetch.path


def folders_have_outputs(config: Config) -> Iterator[Problem]:
    """Check that external outputs exist, one for each test image, under names that no model has."""
    for name, outputs in config.folders.items():
        if name in (*config.models, *BASELINES):
            yield Problem(("folders", name), f"{name!r} is the name of a model too; rename one of them.")
        if not outputs.path.is_dir():
            yield Problem(("folders", name, "path"), f"no folder {outputs.path}.")
            continue
        found = len(images_of(outputs.path))
        for row in singles(config):
            dataset = config.datasets.get(row.dataset)
            if row.model == name and dataset and found != dataset.prepare.test_images:
                wanted = dataset.prepare.test_images
                text = f"{outputs.path} has {found} images, and dataset {row.dataset!r} has {wanted} test images."
                yield Problem(("folders", name, "path"), text)


def strengths_fit(config: Config) -> Iterator[Problem]:
    """Check that images of the tested size can be degraded with the strength of each task."""
    for row in singles(config):
        task, dataset = config.tasks.get(row.task or ""), config.datasets.get(row.dataset)
        strength = TASKS[task.degradation].strength if task else None
        if task is None or dataset is None or strength is None or task.strength is None:
            continue
        if misfit := strength.misfit(task.strength, dataset.prepare.image_size):
            yield Problem(("tasks", str(row.task), strength.name), f"{misfit} of dataset {row.dataset!r}.")


def _attending(config: Config) -> Iterator[tuple[str, Network, int, int]]:
    """Yield the levels with attention of each model, and its middle.

    Each is (model, network, side of the feature map, channels).
    """
    for row in singles(config):
        model, dataset = config.models.get(row.model), config.datasets.get(row.dataset)
        if model is None or dataset is None or not model.network.attends:
            continue
        network = model.network
        levels = list(zip(network.sides(dataset.prepare.image_size), network.multipliers, strict=True))
        for side, multiplier in [*(level for level in levels[:-1] if level[0] in network.attention), levels[-1]]:
            yield row.model, network, side, network.channels * multiplier


def heads_divide(config: Config) -> Iterator[Problem]:
    """Check that levels with attention consist of whole heads."""
    for name, network, _, channels in _attending(config):
        heads = network.head_channels
        if network.backbone == "adm" and channels > heads and channels % heads:
            text = f"{heads} does not divide the {channels} channels of a level with attention."
            yield Problem(("models", name, "network", "head_channels"), text)


def quarters_divide(config: Config) -> Iterator[Problem]:
    """Check that feature maps with local attention can be cut into four equal parts."""
    for name, network, side, _ in _attending(config):
        if network.context == "local-attention" and side % 2:
            text = (
                f"local-attention halves the sides of feature maps, and one of them has {side} pixels. Use images of another "
                "size, fewer `multipliers`, leave that resolution out of `attention`, or take global-attention."
            )
            yield Problem(("models", name, "network", "context"), text)


def batches_divide(config: Config) -> Iterator[Problem]:
    """Check that the global batch divides evenly into the micro-batches of all GPUs. It is rejected, never rounded."""
    for name, model in config.models.items():
        train = model.train
        parts = train.devices * train.accumulate
        if train.batch_size % parts:
            text = f"{train.batch_size} cannot be dealt evenly to {train.devices} GPUs × {train.accumulate} micro-batches = {parts}."
            yield Problem(("models", name, "train", "batch_size"), text)


def widths_are_kept(config: Config) -> Iterator[Problem]:
    """Check that a sampler's average of the weights is kept by the training, or can be made from those that are."""
    for row in singles(config):
        model, sampler = config.models.get(row.model), config.samplers.get(row.sampler or "")
        if model is None or sampler is None or sampler.ema_width is None:
            continue
        kept, width = model.train.ema_widths, sampler.ema_width
        between = [w for w in kept if w > 0]
        if width not in kept and not (between and min(between) < width < max(between)):
            choice = f"keeps {', '.join(f'{w:g}' for w in kept)}" if kept else "keeps none"
            text = (
                f"model {row.model!r} {choice}. Add {width:g} to models.{row.model}.train.ema_widths, or choose a kept "
                "width or one between two of them (but for 0)."
            )
            yield Problem(("samplers", str(row.sampler), "ema_width"), text)


def own_files_are_there(config: Config) -> Iterator[Problem]:
    """Check that the user's folders, archives and models are where the config says, and that results have a folder."""
    for name, dataset in config.datasets.items():
        fetch, path = dataset.fetch, ("datasets", name, "fetch")
        for option in ("path", "conditions") if fetch.source in ("folder", "pairs") else ():
            if (folder := getattr(fetch, option)) is not None and not folder.is_dir():
                file = " It is a file; `source: archive` reads ZIP and tar files." if folder.exists() else ""
                yield Problem((*path, option), f"no folder {folder}.{file}")
        if fetch.source == "archive" and fetch.path and not fetch.files and not fetch.path.is_file():
            folder = " It is a folder, which `source: folder` reads." if fetch.path.is_dir() else ""
            yield Problem((*path, "path"), f"no archive {fetch.path}.{folder}")
    for name, model in config.models.items():
        if (start := model.train.start_from) is not None and not start.is_file():
            text = f"no file {start}. It is the `model.safetensors` of a training or of `palette import`."
            yield Problem(("models", name, "train", "start_from"), text)
    if config.results.exists() and not config.results.is_dir():
        yield Problem(("results",), f"{config.results} is a file, and results need a folder.")
    if {"{", "}"} & {*str(config.results)}:
        text = f"{config.results}: Snakemake reads braces as wildcards. Name a folder without them."
        yield Problem(("results",), text)


def trainings_have_images(config: Config) -> Iterator[Problem]:
    """Check that training datasets have training images, and that some remain when validation images are held out."""
    for index, experiment in enumerate(config.experiments):
        for row in expand(experiment, config.models):
            for name, share in _learned(config, row).items():
                images = config.datasets[name].prepare.train_images if name in config.datasets else None
                held_out = config.models[row.model].train.validation_images
                if images and images <= held_out * share:
                    text = f"{held_out} would leave none of the {images} training images of dataset {name!r}. Choose fewer."
                    yield Problem(("models", row.model, "train", "validation_images"), text)
                if images == 0:
                    text = (
                        f"model {row.model!r} is trained on dataset {name!r}, which has `train_images: 0`. Give it some, "
                        f"or name another dataset in models.{row.model}.train_on."
                    )
                    yield Problem(("experiments", index, "dataset"), text)


def steps_are_reached(config: Config) -> Iterator[Problem]:
    """Check that a model's milestones and previews come before the end of its longest training."""
    rows = singles(config)
    for name, model in config.models.items():
        train = model.train
        longest = max((row.steps or train.steps for row in rows if row.model == name), default=train.steps)
        for option, steps in (("milestones", train.milestones), ("preview_every", (train.preview_every,))):
            if late := [step for step in steps if step > longest]:
                text = f"{late[0]} comes after the last step of the longest training, {longest}. Leave it out, or train longer."
                yield Problem(("models", name, "train", option), text)


def masks_are_there(config: Config) -> Iterator[Problem]:
    """Check that the user's masks are where the config says, in a folder at least one for each test image."""
    for name, task in config.tasks.items():
        if task.masks is None:
            continue
        if not task.masks.exists():
            text = f"no file or folder {task.masks}. Correct the path, or leave `masks` out: then they are drawn."
            yield Problem(("tasks", name, "masks"), text)
        if task.masks.is_file() and task.masks_by is not None:
            text = f"goes with a folder of masks; those in {task.masks} have no names. Leave it out."
            yield Problem(("tasks", name, "masks_by"), text)
        if task.masks.is_file() and task.mask is None:
            text = f"missing. {task.masks} is an archive of masks of several areas; say which: {', '.join(RELEASED)}."
            yield Problem(("tasks", name, "mask"), text)
        found = len(pngs(task.masks, task.masks_by == "position")) if task.masks.is_dir() else None
        for dataset in dict.fromkeys(row.dataset for row in singles(config) if row.task == name):
            wanted = config.datasets[dataset].prepare.test_images if dataset in config.datasets else 0
            if found is not None and found < wanted:
                text = f"{task.masks} has {found} PNGs, and dataset {dataset!r} has {wanted} test images, each of which needs a mask."
                yield Problem(("tasks", name, "masks"), text)


def tables_have_rows(config: Config) -> Iterator[Problem]:
    """Check that every name or pattern in a table matches an experiment, and that its tasks are defined."""
    rows = [row.name for row in singles(config)]
    for name, table in config.tables.items():
        for index, pattern in enumerate(table.experiments):
            if not any(fnmatch(row, pattern) for row in rows):
                text = f"no experiment is called {pattern!r}.{closest(pattern, rows)} They are: {', '.join(rows)}."
                yield Problem(("tables", name, "experiments", index), text)
        for task in table.published:
            if task not in config.tasks:
                text = f"no task is called {task!r}.{closest(task, config.tasks)}"
                yield Problem(("tables", name, "published", task), text)


def tables_can_be_targets(config: Config) -> Iterator[Problem]:
    """Check that no table has the name of a rule, because `snakemake NAME` makes a table."""
    for name in config.tables:
        if name in RULES:
            text = f"{name!r} is the name of a rule of the workflow; rename the table."
            yield Problem(("tables", name), text)


def tables_follow_the_paper(config: Config) -> Iterator[Problem]:
    """Check that a table laid out like one of the paper names rows and images that the paper's table has."""
    rows = singles(config)
    for name, table in config.tables.items():
        if table.paper is None:
            continue
        known, numbers = models(table.paper), of_table(table.paper)
        for model, repeated in table.models.items():
            place = ("tables", name, "models", model)
            if model not in config.models:
                yield Problem(place, f"no model is called {model!r}.{closest(model, config.models)}")
            if repeated not in known:
                choice = f" They are: {'; '.join(known)}."
                text = f"Table {table.paper} of the paper has no row {repeated!r}.{closest(repeated, known)}{choice}"
                yield Problem(place, text)
        chosen = {row.dataset for row in rows if any(fnmatch(row.name, p) for p in table.experiments)}
        about = list(dict.fromkeys(number.dataset for number in numbers))
        for dataset in sorted(chosen & config.datasets.keys()):
            if (published := config.datasets[dataset].published) not in (None, *about):
                text = f"dataset {dataset!r} is {published} for the paper, and its Table {table.paper} is about {', '.join(about)}."
                yield Problem(("tables", name, "experiments"), text)


CHECKS: tuple[Check, ...] = (
    rows_fit,
    pairs_are_there,
    training_sets_fit,
    folders_have_outputs,
    sizes_divide,
    strengths_fit,
    heads_divide,
    quarters_divide,
    batches_divide,
    widths_are_kept,
    *DATASET_CHECKS,
    trainings_have_images,
    steps_are_reached,
    masks_are_there,
    tables_have_rows,
    tables_can_be_targets,
    tables_follow_the_paper,
)


def read_config(raw: Mapping[str, Any], files: Sequence[Path], further: Sequence[Check] = ()) -> Config:
    """Return the config in `raw`, which was read from `files`.

    further: additional checks, of files on this machine. Raises one ConfigError that lists every mistake.
    """
    config, problems = validate(raw)
    if config is not None:
        refuse(list(plan_is_bounded(config)), Places(files))  # before checks that look at every row
    problems += [*names_exist(raw), *sources_exist(raw)]
    if config is not None:
        problems += [problem for check in (*CHECKS, *further) for problem in check(config)]
    refuse(list(dict.fromkeys(problems)), Places(files))
    assert config is not None
    return config
