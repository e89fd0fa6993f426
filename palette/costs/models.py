"""Cost of a config's models: their networks, trainings and samples, as JSON values and as text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from palette.config import Config
from palette.costs.estimate import state_bytes
from palette.model.description import size, size_rows
from palette.planning.checks import read_config
from palette.planning.config_file import read_yaml
from palette.planning.experiments import Single, evaluations, singles
from palette.system.units import aligned, scaled

Facts = dict[str, Any]


def of_config(file: Path) -> Facts:
    """Return the cost of every model in the config's experiments, at each image size.

    Needs no datasets, weights or disk space. Raises ConfigError for mistakes in the config.
    """
    config = read_config(read_yaml(file), [file])
    uses: dict[tuple[str, int], list[Single]] = {}
    for row in singles(config):
        if row.model in config.models and row.task is not None:
            uses.setdefault((row.model, config.datasets[row.dataset].prepare.image_size), []).append(row)
    return {"config": str(file), "models": [_facts(config, *use, rows) for use, rows in uses.items()]}


def _facts(config: Config, name: str, image_size: int, rows: Sequence[Single]) -> Facts:
    model = config.models[name]
    train, samplers = model.train, config.samplers
    per_sample = {row.sampler: evaluations(model, samplers.get(row.sampler or "")) for row in rows}
    facts = size(model.network, image_size, train.precision, train.recompute)
    per_image = facts["per_image"]
    trainings: dict[tuple[str, str | None, int], int] = {}
    """(Datasets; degradation, None for a mix; seed) → steps of the longest training."""
    for row in rows:
        degradation = None if model.mix else config.tasks[row.task or ""].degradation
        key = ("+".join(model.trained_on(row.dataset)), degradation, row.seed)
        trainings[key] = max(trainings.get(key, 0), row.steps or train.steps)
    return {
        "model": name,
        "image_size": image_size,
        **facts,
        "training_state_bytes": state_bytes(model.network, image_size, train.ema_widths),
        "trainings": len(trainings),
        "steps": train.steps,
        "batch_size": train.batch_size,
        "images": train.steps * train.batch_size,
        "training_flops": train.steps * train.batch_size * per_image["training_flops"],
        "all_trainings_flops": sum(trainings.values()) * train.batch_size * per_image["training_flops"],
        "samplers": [
            {"sampler": sampler, "evaluations": count, "flops_per_sample": count * per_image["evaluation_flops"]}
            for sampler, count in per_sample.items()
        ],
    }


def text(facts: Facts) -> str:
    """Return one paragraph per model."""
    return "\n\n".join(map(_paragraph, facts["models"])) or f"{facts['config']}: no model is trained."


def _paragraph(model: Facts) -> str:
    steps = f"{model['steps']:,} steps of {model['batch_size']:,} images: {scaled(model['training_flops'], 'FLOP')}"
    activations = f"{scaled(model['per_image']['training_bytes'], 'B')} an image"
    state = f"{scaled(model['training_state_bytes'], 'B')} of weights, gradients, moments and averages"
    rows = [*size_rows(model), ("memory in training", f"{activations}, beside {state}"), ("one training", steps)]
    if model["trainings"] > 1:
        rows.append((f"all {model['trainings']}", scaled(model["all_trainings_flops"], "FLOP")))
    for sampler in model["samplers"]:
        times = f"{sampler['evaluations']:,} evaluation{'s' if sampler['evaluations'] > 1 else ''}"
        name = f"sample, {sampler['sampler']}" if sampler["sampler"] else "sample"
        rows.append((name, f"{times}: {scaled(sampler['flops_per_sample'], 'FLOP')}"))
    return f"{model['model']}, {model['image_size']} pixels\n{aligned(rows)}"
