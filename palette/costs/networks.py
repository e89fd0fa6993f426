"""The memory of a network, counted once and kept in `results/.cost`: counting takes seconds, and torch."""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from palette.config.models import Network
from palette.stages.fingerprint import digests
from palette.system.files import write_json

FOLDER = ".cost"
"""In the results folder."""


@dataclass(frozen=True)
class Footprint:
    """Of one network on images of one size, as of `palette.model.cost.Cost`, which says more."""

    parameters: int
    training_bytes: int


@cache
def footprint(network: Network, image_size: int, precision: str, recompute: bool, results: Path) -> Footprint:
    """As counted on tensors without values, or as it was counted before by the same code."""
    asked = [network.model_dump(mode="json"), image_size, precision, recompute]
    key = json.dumps([asked, digests("palette.model.cost")], sort_keys=True)
    file = results / FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    with suppress(OSError, ValueError, TypeError):
        return Footprint(**json.loads(file.read_text(encoding="utf-8")))
    # By name: who imports this module does without torch until here.
    found = import_module("palette.model.cost").cost(network, image_size, precision, recompute)
    counted = Footprint(found.parameters, found.training_bytes)
    with suppress(OSError):  # a folder that may only be read
        write_json(file, asdict(counted))
    return counted
