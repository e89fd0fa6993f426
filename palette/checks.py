"""Wishes that cannot be fulfilled, found before anything runs. Each check yields the problems that it finds."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from palette.config import BASELINES, Config, Experiment, Network
from palette.config_file import Places, Problem, closest, refuse, validate
from palette.errors import ConfigError
from palette.plan import Plan, expand
from palette.spec import FeaturesSpec, PrepareSpec, SampleSpec, TrainSpec

Check = Callable[[Config], Iterator[Problem]]


def names_exist(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Every name in an experiment is defined in its section. Reads the raw config, so that a faulty definition still counts."""
    named = {field: raw.get(f"{field}s") for field in ("dataset", "task", "model", "sampler")}
    sections = {field: section if isinstance(section, Mapping) else {} for field, section in named.items()}
    experiments = raw.get("experiments")
    for index, experiment in enumerate(experiments if isinstance(experiments, list) else ()):
        for field, section in sections.items():
            allowed = [*section, *(BASELINES if field == "model" else ())]
            value = experiment.get(field) if isinstance(experiment, Mapping) else None
            for name in value if isinstance(value, list) else [value]:
                if isinstance(name, str) and name not in allowed:
                    choice = f" Defined: {', '.join(map(str, allowed)) or 'none'}."
                    yield Problem(
                        ("experiments", index, field), f"no {field} is called {name!r}.{closest(name, allowed)}{choice}"
                    )


def _row_fits(config: Config, experiment: Experiment) -> Iterator[tuple[str, str]]:
    """What is missing from, or too much in, the rows of one experiment: field and text."""
    for row in expand(experiment):
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
        if row.sampler and (row.model in BASELINES or (model and model.objective.kind == "regression")):
            yield "sampler", f"{row.model!r} is not sampled; leave it out."
        task = config.tasks.get(row.task or "")
        if model and model.mix and task and task.degradation not in model.mix:
            yield "task", f"model {row.model!r} is a mix of {', '.join(model.mix)}; it never sees {task.degradation}."


def rows_fit(config: Config) -> Iterator[Problem]:
    """Each row has what its model needs, and nothing that it cannot use."""
    for index, experiment in enumerate(config.experiments):
        for field, text in dict.fromkeys(_row_fits(config, experiment)):
            yield Problem(("experiments", index, field), text)


def sizes_divide(config: Config) -> Iterator[Problem]:
    """Each model's network can halve the images of its datasets as often as it wants to."""
    for experiment in config.experiments:
        for row in expand(experiment):
            model, dataset = config.models.get(row.model), config.datasets.get(row.dataset)
            if model and dataset and dataset.prepare.image_size % model.network.reduction:
                size, step = dataset.prepare.image_size, model.network.reduction
                near = f"{size // step * step or step} or {-(-size // step) * step}"
                text = f"{size} is not a multiple of {step}, by which the network of model {row.model!r} reduces images; {near} would be."
                yield Problem(("datasets", row.dataset, "prepare", "image_size"), text)


def _attending_channels(network: Network, image_size: int) -> set[int]:
    """Channels of the levels with attention, and of the middle, which always has it."""
    sides = [image_size // network.patch_size // 2**level for level in range(len(network.multipliers))]
    attending = [m for m, side in zip(network.multipliers, sides, strict=True) if side in network.attention]
    return {network.channels * m for m in [*attending, network.multipliers[-1]]}


def heads_divide(config: Config) -> Iterator[Problem]:
    """Levels with attention are made of whole heads."""
    for experiment in config.experiments:
        for row in expand(experiment):
            model, dataset = config.models.get(row.model), config.datasets.get(row.dataset)
            if model is None or dataset is None:
                continue
            heads = model.network.head_channels
            for channels in _attending_channels(model.network, dataset.prepare.image_size):
                if channels > heads and channels % heads:
                    text = f"{heads} does not divide the {channels} channels of a level with attention."
                    yield Problem(("models", row.model, "network", "head_channels"), text)


def batches_divide(config: Config) -> Iterator[Problem]:
    """The global batch is what the config says on any number of GPUs: it is refused, never rounded."""
    for name, model in config.models.items():
        train = model.train
        parts = max(train.gpus, 1) * train.accumulate
        if train.batch_size % parts:
            text = f"{train.batch_size} cannot be dealt evenly to {max(train.gpus, 1)} GPUs × {train.accumulate} micro-batches = {parts}."
            yield Problem(("models", name, "train", "batch_size"), text)


def tables_have_rows(config: Config) -> Iterator[Problem]:
    """Every name or pattern of a table is that of an experiment."""
    rows = [row.name for experiment in config.experiments for row in expand(experiment)]
    for name, table in config.tables.items():
        for index, pattern in enumerate(table.experiments):
            if not any(fnmatch(row, pattern) for row in rows):
                text = f"no experiment is called {pattern!r}.{closest(pattern, rows)} They are: {', '.join(rows)}."
                yield Problem(("tables", name, "experiments", index), text)
        for task in table.published:
            if task not in config.tasks:
                yield Problem(
                    ("tables", name, "published", task), f"no task is called {task!r}.{closest(task, config.tasks)}"
                )


CHECKS: tuple[Check, ...] = (rows_fit, sizes_divide, heads_divide, batches_divide, tables_have_rows)


def read_config(raw: Mapping[str, Any], files: Sequence[Path]) -> Config:
    """The config in `raw`, which was read from `files`. Raises one ConfigError that lists every mistake."""
    config, problems = validate(raw)
    problems += names_exist(raw)
    if config is not None:
        problems += [problem for check in CHECKS for problem in check(config)]
    refuse(list(dict.fromkeys(problems)), Places(files))
    assert config is not None
    return config


# ---------------------------------------------------------------------------------------------------- disk


def parameters(network: Network) -> int:
    """About how many parameters the U-Net has: its 3×3 convolutions, the bulk of it."""
    widths = [network.channels * m for m in network.multipliers]
    pairs = list(zip([network.channels, *widths], widths, strict=False))
    down = sum(9 * (a * b + b * b) + 18 * b * b * (network.blocks - 1) + 18 * b * b for a, b in pairs)
    up = sum(27 * b * b * (network.blocks + 1) + 18 * b * b for _, b in pairs)
    return down + up + 36 * widths[-1] ** 2


def disk_bytes(plan: Plan) -> int:
    """About how many bytes the stages that are still to be made will write, from above."""
    total = 0
    for spec in plan.stages.values():
        if all((plan.results / output).exists() for output in plan.outputs(spec.folder)):
            continue
        if isinstance(spec, PrepareSpec):
            total += (spec.prepare.train_images + spec.prepare.test_images) * spec.prepare.image_size**2 * 3
        elif isinstance(spec, SampleSpec):
            total += (spec.count + spec.draw_inputs * spec.draws) * spec.image_size**2 * 3
        elif isinstance(spec, FeaturesSpec):
            total += spec.count * 4 * 4096
        elif isinstance(spec, TrainSpec):
            total += (
                parameters(spec.network) * 4 * (1 + 3 * 4)
            )  # the model, and three states of weights, EMA and Adam's two moments
    return total


def refuse_full_disk(plan: Plan) -> None:
    """Raise ConfigError if what is planned does not fit on the disk of the results folder."""
    place = plan.results.absolute()
    while not place.exists():
        place = place.parent
    free, needed = shutil.disk_usage(place).free, disk_bytes(plan)
    if needed > free:
        raise ConfigError(
            f"{plan.results}: the stages to be run write about {needed / 1e9:.1f} GB, and {place} has {free / 1e9:.1f} GB free. "
            "Free some space, or name a folder on another disk: `snakemake --config results=/path/to/folder`."
        )
