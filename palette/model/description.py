"""Description of a trained model and of its size, as JSON values and as text.

Work is in FLOP, where a multiplication and an addition are two; memory in text has decimal prefixes (1 kB = 1000 B).
"""

import json
import re
from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from palette.config.models import Network
from palette.errors import DataError
from palette.model.facts import facts_from
from palette.model.flops import flops, parameters, training_flops
from palette.model.memory import activations
from palette.system.files import read_json
from palette.system.progress import clock
from palette.system.units import aligned, scaled

Facts = dict[str, Any]
Rows = list[tuple[str, str]]
BESIDE = ("model.json", "card.json", "spec.yaml", "log.jsonl", "averages.safetensors", "start.safetensors")
"""Files in a model's folder besides `model.safetensors`."""


def size(network: Network, image_size: int, precision: str, recompute: bool = False) -> Facts:
    """Return parameters, and FLOPs and memory for each image. Raises ConfigError for images that do not fit."""
    memory, count = activations(network, image_size, precision, recompute), parameters(network, image_size)
    return {
        "parameters": count,
        "weights_bytes": 4 * count,
        "precision": precision,
        "per_image": {
            "evaluation_flops": flops(network, image_size),
            "training_flops": training_flops(network, image_size, recompute),
            "sampling_bytes": memory.sampling,
            "training_bytes": memory.training,
        },
    }


def size_rows(facts: Facts) -> Rows:
    """Return the lines of a text on `size`."""
    per_image = facts["per_image"]
    sampling = f"{scaled(per_image['sampling_bytes'], 'B')} an image"
    return [
        ("parameters", f"{facts['parameters']:,}"),
        ("evaluation", f"{scaled(per_image['evaluation_flops'], 'FLOP')} an image"),
        ("training step", f"{scaled(per_image['training_flops'], 'FLOP')} an image, in {facts['precision']}"),
        ("memory in sampling", f"{sampling}, beside {scaled(facts['weights_bytes'], 'B')} of weights"),
    ]


def describe(path: Path) -> Facts:
    """Return the description of a trained or imported model; `path` is its folder or a file in it.

    Raises DataError if it is not a model, or if this version cannot build its network.
    """
    weights = _weights_of(path)
    spec, count = _header(weights)
    keys = ("training_seconds", "gpu_hours", "device", "devices", "machine", "finished", "commit", "versions")
    try:
        model = facts_from(spec | _json(weights.with_name("model.json")), "model.json")
        card = _json(weights.with_name("card.json"))
        made = {key: card.get(key) for key in keys}
    except (DataError, TypeError, AttributeError) as error:
        raise DataError(
            f"{weights}: neither its metadata nor a model.json beside it say what network it is of, in words that this version "
            f"knows ({error}). Checkpoints of other programs come in by `python -m palette import`."
        ) from None
    names = {"network", "image_size", "objective", "mix", "images", "imported"}
    return {
        "model": str(weights),
        **model.model_dump(mode="json", include=names),
        **_dataset(weights, spec),
        "steps": spec.get("steps") if model.step is None else model.step,
        **{key: spec.get(key) for key in ("batch_size", "learning_rate", "ema", "seed")},
        **size(model.network, model.image_size, model.precision),
        "parameters": count,
        "averages": _averages(weights.with_name("averages.safetensors")),
        **made,
    }


def _json(file: Path) -> Any:
    return read_json(file) if file.exists() else {}


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
    return spec, sum(map(prod, shapes))


def _dataset(weights: Path, spec: Facts) -> Facts:
    """Return the dataset's name (several joined by ` + `) and number of training images; None for what is unknown."""
    folders = [folder for role, folder in spec.get("parents", {}).items() if role.startswith("prepare")]
    if not folders:
        return {"dataset": None, "training_images": None}
    files = [weights.absolute().parents[2] / folder / "prepare.json" for folder in folders]
    known = all(file.exists() for file in files)
    return {
        "dataset": " + ".join(re.sub("-[0-9a-f]{10}$", "", Path(folder).name) for folder in folders),
        "training_images": sum(read_json(file)["train"]["images"] for file in files) if known else None,
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


def text(facts: Facts) -> str:
    """Return a description of the model: network, objective, training data, training time and cost."""
    network, objective = facts["network"], facts["objective"]
    attention = ", ".join(map(str, network["attention"])) if network["context"].endswith("attention") else "nowhere"
    structure = (
        f"{network['backbone']}, {network['channels']} channels × {', '.join(map(str, network['multipliers']))}; "
        f"blocks a level: {network['blocks']}; {network['context']}: {attention}; noise level as {network['noise_embedding']}"
    )
    goal = ", ".join(str(value) for key, value in objective.items() if (key, value) != ("weighting", "none"))
    rows = [
        ("network", structure),
        ("objective", goal),
        ("image size", f"{facts['image_size']} pixels"),
        ("trained on", _trained_on(facts)),
        ("trained for", _trained_for(facts)),
        ("averages", _averages_text(facts)),
        *size_rows(facts),
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
    known = [f"{facts[what]:,} {what}" for what in ("steps", "images") if facts[what] is not None]
    if facts["training_seconds"] is not None:
        devices = f"{facts['devices']} × " if facts["devices"] > 1 else ""
        known.append(f"{clock(facts['training_seconds'])} on {devices}{facts['device']}")
    if facts["gpu_hours"]:
        known.append(f"{facts['gpu_hours']:g} GPU hours")
    return ", ".join(known) or "unknown"


def _averages_text(facts: Facts) -> str:
    main = "unknown" if facts["ema"] is None else f"decay {facts['ema']:g}"
    widths = ", ".join(f"{width:g}" for width in facts["averages"])
    return main + (f"; widths {widths}" if widths else "")


def _imported_rows(imported: Facts) -> Rows:
    """Return rows on the import: values as they are, lists of tensors as their number."""
    rows = [("imported", "")]
    for key, value in imported.items():
        if key in ("mapped", "dropped"):
            rows.append((f"  {key}", f"{len(value)} tensors"))
        elif isinstance(value, list):
            rows += [(f"  {key}", str(entry)) for entry in value]
        else:
            text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
            rows.append((f"  {key}", text))
    return rows
