"""Facts about a model, its `model.json`: what rebuilds its network for sampling, and facts for readers. Imports no torch."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from palette.config.models import Network, Objective
from palette.errors import DataError
from palette.system.files import read_json, write_json


class Facts(BaseModel):
    """Facts about a trained or imported model. The same training writes the same facts in every run."""

    network: Network
    objective: Objective
    mix: dict[str, float]
    """Task → share of the training; empty for a network without a task."""
    image_size: int
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    attention_at: list[int] = []
    """Sides of the feature maps with attention."""
    parameters: int = 0
    step: int | None = None
    """Optimizer steps done; None if an imported file does not say."""
    images: int | None = None
    """Training images seen."""
    sha256: str = ""
    """Of `model.safetensors`."""
    imported: dict[str, Any] | None = None
    """Origin of an imported model."""

    def write(self, file: Path) -> None:
        write_json(file, self.model_dump(mode="json", exclude={"imported"} if self.imported is None else None))


def read_facts(file: Path) -> Facts:
    """Read a `model.json`. Raises DataError if it is missing, or describes no model that this version knows."""
    return facts_from(read_json(file), file)


def facts_from(content: Any, place: Path | str) -> Facts:
    """Return the facts in the JSON values that stand at `place`. Raises DataError if they describe no model."""
    try:
        return Facts.model_validate(content)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, e["loc"])) for e in error.errors()) or "the top"
        raise DataError(
            f"{place}: of another version of palette, or of no model; it does not fit at {places}."
        ) from None
