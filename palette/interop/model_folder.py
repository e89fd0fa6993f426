"""Imported models on disk: the same files as a finished training, and a record of the import."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from safetensors.torch import save_file
from torch import Tensor

from palette.config.models import Network, Objective
from palette.errors import ConfigError
from palette.model.facts import Facts
from palette.system.files import replacing, sha256

FILES = ("model.safetensors", "start.safetensors", "model.json")
OBJECTIVE = Objective(kind="epsilon", loss="l2")
"""Objective of all networks that can be imported."""

T = TypeVar("T")
Weights = Mapping[str, Tensor]
"""Name → float32 tensor."""


@dataclass(frozen=True)
class Flags:
    """Options of `palette import` for what a checkpoint does not say. None: not given."""

    task: str | None = None
    head_channels: int | None = None
    image_size: int | None = None
    which: Literal["raw", "ema"] | None = None
    """Weights to sample from. Default: the average, if it exists."""


@dataclass(frozen=True)
class Imported:
    """Network of another program, converted to one of ours."""

    network: Network
    mix: dict[str, float]
    """Task → share; empty for a network without a task."""
    image_size: int
    attention_at: list[int]
    weights: Weights
    """Weights for sampling."""
    record: dict[str, Any]
    """`mapped`: their name → ours; `dropped`: their name → why; `assumed`: values that are not in the files; `notes`;
    and the origin: format, files with their SHA-256, and further facts from them."""
    start: Mapping[str, Weights] | None = None
    """State from which a training resumes: `network`, `averages`, and Adam's `exp_avg` and `exp_avg_sq`."""
    step: int | None = None
    """Optimizer steps done, if the files say so."""
    images: int | None = None
    """Images seen, if the files say so."""

    @property
    def parameters(self) -> int:
        return sum(tensor.numel() for tensor in self.weights.values())


def decide(name: str, given: T | None, released: T, reason: str, assumed: list[str]) -> T:
    """Return the given value; if it is None, that of the released networks, and record it in `assumed`."""
    if given is not None:
        return given
    assumed.append(f"{name} {released}, {reason}.")
    return released


def facts_of(file: Path) -> dict[str, str]:
    """Return name and SHA-256 of a file, for `model.json`."""
    return {"file": file.name, "sha256": sha256(file)}


def write_model(model: Imported, folder: Path) -> list[Path]:
    """Write `model.safetensors`, `start.safetensors` if there is a start, and, last, `model.json`; return their paths.

    Raises ConfigError if one of them exists: nothing is overwritten. Files written before a failure are deleted, so
    that the same command can be repeated, for example on a disk with more space.
    """
    weights_file, start_file, facts_file = files = [folder / name for name in FILES]
    for file in files:
        if file.exists():
            raise ConfigError(f"{file}: is there already. Name another folder (`-o`), or delete it.")
    try:
        with replacing(weights_file) as temporary:
            save_file(dict(model.weights), temporary, {"imported": model.record["format"]})
        if model.start is not None:
            with replacing(start_file) as temporary:
                # Cloned: raw weights may stand in for averages, but the file format does not allow shared memory.
                flat = {f"{group}/{name}": t.clone() for group, part in model.start.items() for name, t in part.items()}
                save_file(flat, temporary, {"adam_step": str(model.step)})
        facts = Facts(
            network=model.network,
            objective=OBJECTIVE,
            mix=model.mix,
            image_size=model.image_size,
            attention_at=model.attention_at,
            parameters=model.parameters,
            step=model.step,
            images=model.images,
            sha256=sha256(weights_file),
            imported=model.record,
        )
        facts.write(facts_file)
    except BaseException:
        for file in (weights_file, start_file):
            file.unlink(missing_ok=True)
        raise
    return [file for file in files if file.exists()]


def report(model: Imported, files: list[Path], verbose: bool) -> str:
    """Return a summary of the import for the user, with a config entry that continues training from `files`."""
    network, record, defaults = model.network, model.record, Network().model_dump(mode="json")
    lines = [
        f"{record['format']}: {network.backbone} backbone, {network.channels} channels, multipliers "
        f"{list(network.multipliers)}, {network.blocks} blocks, attention at {model.attention_at or 'the middle only'}, "
        f"{model.parameters:,} parameters",
        f"mapped: {len(record['mapped'])} tensors; dropped: {len(record['dropped'])}{'' if verbose else ' (--verbose names them)'}",
    ]
    if verbose:
        lines += [f"  {theirs} → {ours}" for theirs, ours in record["mapped"].items()]
        lines += [f"  {theirs} dropped: {reason}" for theirs, reason in record["dropped"].items()]
    lines += [f"assumed: {line}" for line in record["assumed"]] + record["notes"]
    lines += [f"wrote {file}" for file in files]
    start = next((file for file in files if file.name == FILES[1]), files[0])
    entry = {
        "network": {key: value for key, value in network.model_dump(mode="json").items() if value != defaults[key]},
        "objective": {"kind": OBJECTIVE.kind, "loss": OBJECTIVE.loss},
        "train": {"start_from": str(start)},
    }
    config = yaml.safe_dump({"models": {"imported": entry}}, sort_keys=False, default_flow_style=None, width=120)
    return "\n".join([*lines, "", f"To train on from it, in a config with `image_size` {model.image_size}:", config])
