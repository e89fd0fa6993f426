"""Options and values that have had other names. A config with the old ones is read for now, with a note."""

from collections.abc import Mapping
from typing import Any

OPTIONS: dict[tuple[str, ...], str] = {("folders",): "external_outputs"}
"""Old option → its name today. `*` in a place stands for any name."""
VALUES: dict[tuple[str, ...], dict[str, str]] = {
    ("datasets", "*", "prepare", "crop"): {"centre": "center"},
    ("datasets", "*", "prepare", "test_crop"): {"centre": "center"},
    ("tasks", "*", "mask"): {"centre": "center"},
}
"""Option → old value → its name today."""


def today(content: Any, option: str = "") -> Any:
    """Return the content of an earlier version's spec with today's names of its values."""
    if isinstance(content, Mapping):
        return {name: today(value, name) for name, value in content.items()}
    values = next((values for place, values in VALUES.items() if place[-1] == option), {})
    return values.get(content, content) if isinstance(content, str) else content
