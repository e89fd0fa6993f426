"""Base class and common types of all sections of the config."""

import re
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$", max_length=60)]
Share = Annotated[float, Field(ge=0, le=1)]
Threads = Annotated[int, Field(ge=1, le=1024)]
MOST = 10**9
"""The largest count that a config may have; whatever is more is a slip."""
Count = Annotated[int, Field(ge=1, le=MOST)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Weight = Annotated[float, Field(gt=0, le=MOST)]


def _absolute(path: Path) -> Path:
    """Without `~`, and from the root on: jobs may run in another folder than the one where the config was read."""
    if re.match(r"[a-z0-9+]+:/", str(path)):  # a Path keeps one of the two slashes
        raise ValueError(
            "is an address, and files have to lie on this machine. Archives on the web: `urls` in `files` of `fetch`"
        )
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"cannot be resolved: {error}") from None


Folder = Annotated[Path, AfterValidator(_absolute)]


def _takes_names(annotation: Any) -> bool:
    """Return whether a field takes a mapping of the user's own names, not of options."""
    return get_origin(annotation) is dict or any(map(_takes_names, get_args(annotation)))


class Options(BaseModel):
    """Base of every section: unknown keys are refused, values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def value_is_meant(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse text that cannot be written, and YAML's `yes` and `no` for numbers, which Python takes for 1 and 0, and for names."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        entries: dict[tuple[Any, ...], Any] = {(): value}
        if isinstance(value, list | tuple):
            entries = {(index,): entry for index, entry in enumerate(value)}
        elif isinstance(value, dict) and _takes_names(annotation):
            entries = {(name,): entry for name, entry in value.items()}
        meant = next((place for place, entry in entries.items() if isinstance(entry, bool)), None)
        if meant is not None and annotation is not bool:
            said = "is YAML's yes or no here; a word in quotes stays a word"
            raise PydanticCustomError("yes_or_no", said, {"entry": meant})
        if isinstance(value, str) and re.search("[\\0\ud800-\udfff]", value):
            raise ValueError("has characters that no file can hold: NUL, or half of a surrogate pair")
        return value
