"""Starting from a trained model instead of random weights.

Two kinds of file are supported. `model.safetensors`, written by a training or `palette import`, holds tensors under the
parameters' names. `start.safetensors`, written by `palette import`, holds the state of another training: the weights
under `network/`, their EMA under `averages/`, Adam's moments under `exp_avg/` and `exp_avg_sq/`, and `adam_step` in the
metadata.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from palette.errors import DataError
from palette.model.finite import require_finite
from palette.system.files import sha256
from palette.training.trainer import Trainer, like

PARTS = ("network", "averages", "exp_avg", "exp_avg_sq")
SHOWN = 5
"""Differences to list in an error."""


def begin(trainer: Trainer) -> None:
    """Set a new trainer to the model that its spec starts from.
    Raises DataError if the file is a different one or does not fit."""
    path = trainer.spec.runtime.start_from
    if path is None:
        raise DataError("train: the spec starts from a model, but does not say where it is. Run `snakemake` again.")
    check(path, trainer.spec.start_sha256)
    try:
        with safe_open(path, "pt", device=str(trainer.world.device)) as file:
            fill(trainer, file, path)
    except SafetensorError as error:
        raise DataError(f"{path}: not a readable safetensors file ({error}).") from None


def check(path: Path, digest: str | None) -> None:
    """Raise DataError unless the file has this SHA-256."""
    try:
        found = sha256(path)
    except OSError as error:
        raise DataError(
            f"{path}: the model to start from is not readable ({error.strerror}). See `train.start_from`."
        ) from None
    if found != digest:
        raise DataError(
            f"{path}: not the file that this training was planned with (sha256 {found[:12]}…, planned {str(digest)[:12]}…). "
            "Put that file back, or plan again: another model to start from is another training."
        )


@torch.no_grad()
def fill(trainer: Trainer, file: safe_open, path: Path) -> None:
    """Copy the tensors of an open file into the trainer.
    Raises DataError for names or shapes that differ, listing the first, and for values that are not finite."""
    parameters = dict(trainer.network.named_parameters())
    found = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 (no mapping)
    whole = any(key.partition("/")[0] in PARTS for key in found)
    prefixes = [f"{part}/" for part in PARTS] if whole else [""]
    wanted = {prefix + name: tuple(p.shape) for prefix in prefixes for name, p in parameters.items()}
    require_equal(wanted, found, path)
    require_finite(((key, file.get_tensor(key)) for key in found), path)
    weights, averages = ("network/", "averages/") if whole else ("", "")
    for (name, parameter), average in zip(parameters.items(), trainer.averages, strict=True):
        parameter.copy_(file.get_tensor(weights + name))
        average.copy_(file.get_tensor(averages + name))
    if whole:
        trainer.earlier = adam_step(file.metadata() or {}, path)
        for name, parameter in parameters.items():
            moments = {part: like(parameter, file.get_tensor(f"{part}/{name}")) for part in ("exp_avg", "exp_avg_sq")}
            step = torch.tensor(float(trainer.earlier), device=parameter.device)
            trainer.optimizer.state[parameter] = {"step": step, **moments}


def adam_step(metadata: Mapping[str, str], path: Path) -> int:
    """Return the number of optimizer steps behind the file's weights. Raises DataError if it is missing."""
    try:
        return int(metadata["adam_step"])
    except (KeyError, ValueError):
        raise DataError(
            f"{path}: has no number of steps (`adam_step`). Import it again with `palette import`."
        ) from None


def require_equal(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Raise DataError unless names and shapes are equal, listing the first that differ."""
    differing = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
    if differing:
        lines = [
            f"  {key}: {found.get(key, 'missing')} in the file, {wanted.get(key, 'nothing')} in the network"
            for key in differing[:SHOWN]
        ]
        raise DataError(
            f"{path}: does not fit the network; {len(differing)} of {len(wanted)} tensors differ:\n"
            + "\n".join(lines)
            + "\nGive `network` the options of that model; `python -m palette info` tells them."
        )
