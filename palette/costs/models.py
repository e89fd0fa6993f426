"""Cost of a config's models, and description of a trained model, as JSON values and as text.

Work is in FLOP, where a multiplication and an addition are two; memory in text has decimal prefixes (1 kB = 1000 B).
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from palette.config import Config
from palette.config.models import Model, Network
from palette.errors import DataError
from palette.model.cost import Cost, cost
from palette.planning.checks import read_config
from palette.planning.config_file import read_yaml
from palette.planning.experiments import evaluations, expand
from palette.system.files import read_json
from palette.system.progress import clock
from palette.system.units import aligned, scaled

Facts = dict[str, Any]
WEIGHT, GRADIENT, MOMENTS = 4, 4, 8
"""Bytes per parameter in float32: weight (and any average of it), gradient, Adam's two moments."""


# ------------------------------------------------------------------------------------------------ a config


@dataclass
class Use:
    """Trainings and samplers that a config uses for one of its models at one image size."""

    trainings: dict[tuple[str, str | None, int], int] = field(default_factory=dict)
    """(Dataset; degradation, None for a mix; seed) → steps of the longest training."""
    samplers: dict[str | None, int] = field(default_factory=dict)
    """Name of the sampler, None for regression → number of network evaluations per image."""


def of_config(file: Path) -> Facts:
    """Return the cost of every model in the config's experiments: its network, trainings and samples.

    Needs no datasets, weights or disk space. Raises ConfigError for mistakes in the config.
    """
    config = read_config(read_yaml(file), [file])
    models = [_planned(name, size, config, use) for (name, size), use in _uses(config).items()]
    return {"config": str(file), "models": models}


def _uses(config: Config) -> dict[tuple[str, int], Use]:
    """Return (model, image size) → use, in the order of the experiments."""
    uses: dict[tuple[str, int], Use] = {}
    for row in (row for experiment in config.experiments for row in expand(experiment, config.models)):
        model = config.models.get(row.model)
        if model is None or row.task is None:
            continue
        use = uses.setdefault((row.model, config.datasets[row.dataset].prepare.image_size), Use())
        training = (
            "+".join(model.trained_on(row.dataset)),
            None if model.mix else config.tasks[row.task].degradation,
            row.seed,
        )
        use.trainings[training] = max(use.trainings.get(training, 0), row.steps or model.train.steps)
        sampler = config.samplers[row.sampler] if row.sampler else None
        use.samplers[row.sampler] = evaluations(model, sampler)
    return uses


def _planned(name: str, image_size: int, config: Config, use: Use) -> Facts:
    model = config.models[name]
    found = cost(model.network, image_size, model.train.precision, model.train.recompute)
    images = model.train.steps * model.train.batch_size
    return {
        "model": name,
        "image_size": image_size,
        **_cost_facts(found, model.train.precision),
        "training_state_bytes": _state_bytes(model, found),
        "trainings": len(use.trainings),
        "steps": model.train.steps,
        "batch_size": model.train.batch_size,
        "images": images,
        "training_flops": images * found.training_flops,
        "all_trainings_flops": sum(use.trainings.values()) * model.train.batch_size * found.training_flops,
        "samplers": [
            {"sampler": sampler, "evaluations": count, "flops_per_sample": count * found.flops}
            for sampler, count in use.samplers.items()
        ],
    }


def _state_bytes(model: Model, found: Cost) -> int:
    """Return the bytes of weights, gradients, Adam's moments, the average of `ema` and those of `ema_widths`."""
    averages = 1 + sum(width > 0 for width in model.train.ema_widths)
    return found.parameters * (WEIGHT + GRADIENT + MOMENTS + averages * WEIGHT)


def _cost_facts(found: Cost, precision: str) -> Facts:
    return {
        "parameters": found.parameters,
        "weights_bytes": found.parameters * WEIGHT,
        "precision": precision,
        "per_image": {
            "evaluation_flops": found.flops,
            "training_flops": found.training_flops,
            "sampling_bytes": found.sampling_bytes,
            "training_bytes": found.training_bytes,
        },
    }


# ------------------------------------------------------------------------------------------------- a model


def of_model(path: Path) -> Facts:
    """Return the description of a trained or imported model; `path` is its folder or a file in it.

    Raises DataError if it is not a model, or if this version cannot build its network.
    """
    weights = _weights_of(path)
    spec, parameters = _header(weights)
    beside = weights.with_name("model.json")
    written = read_json(beside) if beside.exists() else {}
    try:
        facts: Facts = spec | written
        network = Network.model_validate(facts["network"])
        precision = facts["precision"]
        found = cost(network, facts["image_size"], precision)
        return {
            "model": str(weights),
            "network": network.model_dump(mode="json"),
            "image_size": facts["image_size"],
            "objective": facts["objective"],
            "mix": facts["mix"],
            **_dataset(weights, spec),
            "steps": facts.get("step", spec.get("steps")),
            "images": facts.get("images"),
            **{key: spec.get(key) for key in ("batch_size", "learning_rate", "ema", "seed")},
            **_cost_facts(found, precision),
            "parameters": parameters,
            "averages": _averages(weights.with_name("averages.safetensors")),
            **_card(weights.with_name("card.json")),
            "imported": facts.get("imported"),
        }
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        raise DataError(
            f"{weights}: neither its metadata nor a model.json beside it say what network it is of, in words that this version "
            f"knows ({type(error).__name__}: {error}). Checkpoints of other programs come in by `python -m palette import`."
        ) from None


BESIDE = ("model.json", "card.json", "spec.yaml", "log.jsonl", "averages.safetensors", "start.safetensors")
"""Files in a model's folder besides `model.safetensors`."""


def _weights_of(path: Path) -> Path:
    """Return the weights file that `path` refers to. Raises DataError if there is none."""
    weights = (path if path.is_dir() else path.parent) / "model.safetensors"
    if path.suffix == ".safetensors" and path.name not in BESIDE:  # whatever else the user has named it
        weights = path
    if not weights.is_file() or not (path.is_dir() or path == weights or path.name in BESIDE):
        raise DataError(
            f"{path}: no model. A model is a folder with model.safetensors, as a training leaves it in results/train/."
        )
    return weights


def _header(weights: Path) -> tuple[Facts, int]:
    """Return the spec in the metadata, {} if there is none, and the number of parameters, without reading the weights.

    Raises DataError if the file is not readable.
    """
    try:
        with safe_open(weights, "pt") as file:
            spec: Facts = json.loads((file.metadata() or {}).get("spec", "{}"))
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise DataError(f"{weights}: not a readable safetensors file ({error}). Make it again.") from None
    return spec, sum(_product(shape) for shape in shapes)


def _product(shape: Iterable[int]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product


def _dataset(weights: Path, spec: Facts) -> Facts:
    """Return the dataset's name (several joined by ` + `) and number of training images; None for what is unknown."""
    folders = [folder for role, folder in spec.get("parents", {}).items() if role.startswith("prepare")]
    if not folders:
        return {"dataset": None, "training_images": None}
    files = [weights.absolute().parents[2] / folder / "prepare.json" for folder in folders]
    there = all(file.exists() for file in files)
    return {
        "dataset": " + ".join(re.sub("-[0-9a-f]{10}$", "", Path(folder).name) for folder in folders),
        "training_images": sum(read_json(file)["train"]["images"] for file in files) if there else None,
    }


def _averages(file: Path) -> list[float]:
    """Return the widths of the stored averages; none without a file. Raises DataError if it is not readable."""
    if not file.exists():
        return []
    try:
        with safe_open(file, "pt") as tensors:
            return sorted({float(name.partition("/")[0]) for name in tensors.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(
            f"{file}: not the averages of a training ({error}). Delete its folder and train again."
        ) from None


def _card(file: Path) -> Facts:
    """Return from the card how long, on what and when the model was trained; all values are None without a card."""
    card: Facts = read_json(file) if file.exists() else {}
    keys = ("training_seconds", "gpu_hours", "device", "devices", "machine", "finished", "commit", "versions")
    return {key: card.get(key) for key in keys}


# -------------------------------------------------------------------------------------------------- as text


def config_text(facts: Facts) -> str:
    """Return one paragraph per model."""
    models = [_planned_text(model) for model in facts["models"]]
    return "\n\n".join(models or [f"{facts['config']}: no model is trained."])


def _planned_text(model: Facts) -> str:
    steps = f"{model['steps']:,} steps of {model['batch_size']:,} images: {scaled(model['training_flops'], 'FLOP')}"
    count = model["trainings"]
    rows = [
        *_cost_rows(model),
        ("memory in training", f"{_activations(model, 'training')}, beside {_state(model)}"),
        ("one training", steps),
    ]
    if count > 1:
        rows.append((f"all {count}", scaled(model["all_trainings_flops"], "FLOP")))
    for sampler in model["samplers"]:
        times = f"{sampler['evaluations']:,} evaluation{'s' if sampler['evaluations'] > 1 else ''}"
        name = f"sample, {sampler['sampler']}" if sampler["sampler"] else "sample"
        rows.append((name, f"{times}: {scaled(sampler['flops_per_sample'], 'FLOP')}"))
    return f"{model['model']}, {model['image_size']} pixels\n{aligned(rows)}"


def _cost_rows(facts: Facts) -> list[tuple[str, str]]:
    per_image = facts["per_image"]
    return [
        ("parameters", f"{facts['parameters']:,}"),
        ("evaluation", f"{scaled(per_image['evaluation_flops'], 'FLOP')} an image"),
        ("training step", f"{scaled(per_image['training_flops'], 'FLOP')} an image, in {facts['precision']}"),
        (
            "memory in sampling",
            f"{_activations(facts, 'sampling')}, beside {scaled(facts['weights_bytes'], 'B')} of weights",
        ),
    ]


def _activations(facts: Facts, when: str) -> str:
    return f"{scaled(facts['per_image'][f'{when}_bytes'], 'B')} an image"


def _state(model: Facts) -> str:
    return f"{scaled(model['training_state_bytes'], 'B')} of weights, gradients, moments and averages"


def model_text(facts: Facts) -> str:
    """Return a description of the model: network, objective, training data, training time and cost."""
    network, objective = facts["network"], facts["objective"]
    attention = ", ".join(map(str, network["attention"])) if network["context"].endswith("attention") else "nowhere"
    rows = [
        (
            "network",
            f"{network['backbone']}, {network['channels']} channels × {', '.join(map(str, network['multipliers']))}; "
            f"blocks a level: {network['blocks']}; {network['context']}: {attention}; noise level as {network['noise_embedding']}",
        ),
        (
            "objective",
            ", ".join(str(value) for key, value in objective.items() if (key, value) != ("weighting", "none")),
        ),
        ("image size", f"{facts['image_size']} pixels"),
        ("trained on", _trained_on(facts)),
        ("trained for", _trained_for(facts)),
        ("averages", _averages_text(facts)),
        *_cost_rows(facts),
    ]
    if facts["versions"]:
        versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
        rows.append(("made by", f"{versions}; commit {(facts['commit'] or 'unknown')[:12]}"))
    if facts["imported"]:
        rows += _imported_rows(facts["imported"])
    return f"{facts['model']}\n{aligned(rows)}"


def _trained_on(facts: Facts) -> str:
    shares = facts["mix"]
    tasks = ", ".join(f"{task} ({share:g})" if len(shares) > 1 else task for task, share in shares.items())
    if facts["dataset"] is None:
        return tasks or "no task: it is a start for a training"
    images = f", {facts['training_images']:,} images" if facts["training_images"] else ""
    return f"{tasks}; dataset {facts['dataset']}{images}"


def _trained_for(facts: Facts) -> str:
    known = []
    if facts["steps"] is not None:
        known.append(f"{facts['steps']:,} steps")
    if facts["images"] is not None:
        known.append(f"{facts['images']:,} images")
    if facts["training_seconds"] is not None:
        devices = f"{facts['devices']} × " if facts["devices"] > 1 else ""
        known.append(f"{clock(facts['training_seconds'])} on {devices}{facts['device']}")
    if facts["gpu_hours"]:
        known.append(f"{facts['gpu_hours']:g} GPU hours")
    return ", ".join(known) or "unknown"


def _averages_text(facts: Facts) -> str:
    main = "unknown" if facts["ema"] is None else f"decay {facts['ema']:g}"
    kept = ", ".join(f"{width:g}" for width in facts["averages"])
    return main + (f"; widths {kept}" if kept else "")


def _imported_rows(imported: Facts) -> list[tuple[str, str]]:
    """Return rows on the import: values as they are, lists of tensors as their number."""
    rows = []
    for key, value in imported.items():
        if key in ("mapped", "dropped"):
            rows.append((key, f"{len(value)} tensors"))
        elif isinstance(value, list):
            rows += [(key, str(entry)) for entry in value]
        else:
            rows.append((key, json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)))
    return [("imported", ""), *((f"  {name}", value) for name, value in rows)]
