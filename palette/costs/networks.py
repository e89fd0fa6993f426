"""Memory of networks, cached in `results/.cost` because counting takes seconds and needs torch."""

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
"""Name of the cache folder in the results folder."""


@dataclass(frozen=True)
class Footprint:
    """Size of one network at one image size; `palette.model.cost.Cost` has more."""

    parameters: int
    training_bytes: int


@cache
def footprint(network: Network, image_size: int, precision: str, recompute: bool, results: Path) -> Footprint:
    """Return the size of a network, counted on tensors without values, or the cached count by the same code."""
    asked = [network.model_dump(mode="json"), image_size, precision, recompute]
    key = json.dumps([asked, digests("palette.model.cost")], sort_keys=True)
    file = results / FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    with suppress(OSError, ValueError, TypeError):
        return Footprint(**json.loads(file.read_text(encoding="utf-8")))
    # Imported by name here, so that importing this module does not need torch.
    found = import_module("palette.model.cost").cost(network, image_size, precision, recompute)
    counted = Footprint(found.parameters, found.training_bytes)
    with suppress(OSError):  # the folder may be read-only
        write_json(file, asdict(counted))
    return counted
