"""Imported models on disk: the same files as a finished training, and a record of the import."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import save_file
from torch import Tensor

from palette.config.models import Network, Objective
from palette.errors import ConfigError
from palette.model.facts import Facts
from palette.system.files import replacing, sha256

Weights = Mapping[str, Tensor]
"""Name → float32 tensor."""


@dataclass(frozen=True)
class Start:
    """State from which a training resumes, all by our tensor names."""

    network: Weights
    averages: Weights
    exp_avg: Weights
    exp_avg_sq: Weights
    adam_step: int


@dataclass(frozen=True)
class Imported:
    """Network of another program, converted to one of ours."""

    network: Network
    objective: Objective
    mix: dict[str, float]
    """Task → share; empty for a network without a task."""
    image_size: int
    attention_at: list[int]
    weights: Weights
    """Weights for sampling."""
    mapped: dict[str, str]
    """Their name → ours."""
    dropped: dict[str, str]
    """Their name → why it was dropped."""
    origin: dict[str, Any]
    """Format, files with their SHA-256, and further facts from the files."""
    assumed: list[str]
    """Assumed values of settings that are not in the files."""
    start: Start | None = None
    step: int | None = None
    """Optimizer steps done, if the files say so."""
    images: int | None = None
    """Images seen, if the files say so."""
    notes: list[str] = field(default_factory=list)


def facts_of(file: Path) -> dict[str, str]:
    """Return name and SHA-256 of a file, for `model.json`."""
    return {"file": file.name, "sha256": sha256(file)}


def write_model(model: Imported, folder: Path) -> list[Path]:
    """Write `model.safetensors`, `start.safetensors` if there is a start, and, last, `model.json`; return their paths.

    Raises ConfigError if one of them exists: nothing is overwritten. Files written before a failure are deleted, so
    that the same command can be repeated, for example on a disk with more space.
    """
    weights_file, start_file, facts_file = (folder / name for name in FILES)
    for file in (weights_file, start_file, facts_file):
        if file.exists():
            raise ConfigError(f"{file}: is there already. Name another folder (`-o`), or delete it.")
    try:
        with replacing(weights_file) as temporary:
            save_file(dict(model.weights), temporary, {"imported": model.origin["format"]})
        if model.start is not None:
            with replacing(start_file) as temporary:
                save_file(_flat(model.start), temporary, {"adam_step": str(model.start.adam_step)})
        _facts(model, sha256(weights_file)).write(facts_file)
    except BaseException:
        for file in (weights_file, start_file):
            file.unlink(missing_ok=True)
        raise
    return [file for file in (weights_file, start_file, facts_file) if file.exists()]


FILES = ("model.safetensors", "start.safetensors", "model.json")


def _flat(start: Start) -> dict[str, Tensor]:
    groups = {
        "network": start.network,
        "averages": start.averages,
        "exp_avg": start.exp_avg,
        "exp_avg_sq": start.exp_avg_sq,
    }
    # Cloned: raw weights may stand in for averages, but the file format does not allow shared memory.
    return {f"{group}/{name}": tensor.clone() for group, tensors in groups.items() for name, tensor in tensors.items()}


def _facts(model: Imported, digest: str) -> Facts:
    return Facts(
        network=model.network,
        objective=model.objective,
        mix=dict(sorted(model.mix.items())),
        image_size=model.image_size,
        attention_at=model.attention_at,
        parameters=sum(tensor.numel() for tensor in model.weights.values()),
        step=model.step,
        images=model.images,
        sha256=digest,
        imported={
            **model.origin,
            "mapped": model.mapped,
            "dropped": model.dropped,
            "assumed": model.assumed,
            "notes": model.notes,
        },
    )


def in_config(model: Imported, files: list[Path]) -> str:
    """Return a config entry, as YAML, that continues training from the written `files`."""
    start = next((file for file in files if file.name == FILES[1]), files[0])
    defaults, options = Network().model_dump(mode="json"), model.network.model_dump(mode="json")
    network = {key: value for key, value in options.items() if value != defaults[key]}
    objective = {"kind": model.objective.kind, "loss": model.objective.loss}
    entry = {"network": network, "objective": objective, "train": {"start_from": str(start)}}
    return yaml.safe_dump({"models": {"imported": entry}}, sort_keys=False, default_flow_style=None, width=120)


def report(model: Imported, files: list[Path], verbose: bool) -> str:
    """Return a summary of the import for the user."""
    network = model.network
    lines = [
        f"{model.origin['format']}: {network.backbone} backbone, {network.channels} channels, multipliers "
        f"{list(network.multipliers)}, {network.blocks} blocks, attention at {model.attention_at or 'the middle only'}, "
        f"{sum(tensor.numel() for tensor in model.weights.values()):,} parameters",
        f"mapped: {len(model.mapped)} tensors; dropped: {len(model.dropped)}"
        + ("" if verbose or not (model.mapped or model.dropped) else " (--verbose names them)"),
    ]
    if verbose:
        lines += [f"  {theirs} → {ours}" for theirs, ours in model.mapped.items()]
        lines += [f"  {theirs} dropped: {reason}" for theirs, reason in model.dropped.items()]
    lines += [f"assumed: {line}" for line in model.assumed] + model.notes
    lines += [f"wrote {file}" for file in files]
    return "\n".join(
        [*lines, "", f"To train on from it, in a config with `image_size` {model.image_size}:", in_config(model, files)]
    )
