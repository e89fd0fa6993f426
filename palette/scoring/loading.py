"""Loading of extractors' networks, and the parts that their loaders share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from palette.errors import DataError
from palette.scoring.extractors import EXTRACTORS, Measure, Prepare, Source
from palette.system.files import sha256


@dataclass(frozen=True)
class Network:
    """An extractor's network, ready to run. pairs: it compares two images at a time."""

    prepare: Prepare
    measure: Measure
    pairs: bool = False


def load_network(folder: Path, description: dict[str, Any], weights: Path | None, device: torch.device) -> Network:
    """Load the network that an `extractor.json` describes. folder: that of the extractor stage.
    weights: the pretrained file, if there is one. Raises DataError if the files do not match the description."""
    extractor = EXTRACTORS[description["kind"]]
    prepare, measure = extractor.load(Source(folder, description, weights, device))
    return Network(prepare, measure, extractor.pairs)


def array(values: Tensor) -> npt.NDArray[Any]:
    return values.cpu().numpy()


def checked(source: Source, path: Path | None) -> Path:
    """Return the path. Raises DataError unless it is the file that the description has the SHA-256 of."""
    if path is None or not path.is_file() or sha256(path) != source.description["sha256"]:
        raise DataError(
            f"{path or source.folder}: missing, or not the weights that extractor.json describes. "
            f"Delete {source.folder} and run `snakemake` again."
        )
    return path


def state(source: Source) -> dict[str, Tensor]:
    """Load the tensors of the pretrained file. Nothing else is unpickled."""
    path = checked(source, source.weights)
    try:
        tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds of errors for bad files
        raise DataError(f"{path}: cannot be read as weights ({error}). Delete it and get it again.") from None
    return tensors


def filled(model: nn.Module, tensors: dict[str, Tensor], source: Source) -> nn.Module:
    """Return the model with these weights, ready to run. Raises DataError if they do not fit."""
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise DataError(f"{source.weights}: not the weights of this network ({error}).") from None
    return model.to(source.device).to(memory_format=torch.channels_last).eval()
