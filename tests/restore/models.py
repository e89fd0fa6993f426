"""Models with random weights, in the files of a training."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from palette.config.models import Network
from palette.model.networks import build
from tests.tiny import NETWORK, SIZE

TASKS = ("colorization", "inpainting", "jpeg", "paired", "super-resolution", "uncropping")


def weights(network: Network, seed: int = 0) -> dict[str, Tensor]:
    """With no parameter left at zero."""
    torch.manual_seed(seed)
    made = build(network, SIZE)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made.state_dict()


def write_model(
    folder: Path, tasks: tuple[str, ...] = TASKS, objective: str = "edm", network: Network = NETWORK, **changes: Any
) -> Path:
    """`model.safetensors` and `model.json`; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights(network), folder / "model.safetensors")
    facts = {
        "network": network.model_dump(mode="json"),
        "objective": {"kind": objective},
        "mix": dict.fromkeys(tasks, 1.0),
        "image_size": SIZE,
        "precision": "fp32",
        **changes,
    }
    (folder / "model.json").write_text(json.dumps(facts))
    return folder
