"""What became of a config of the unofficial code."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass
class Converted:
    """What became of a JSON config."""

    config: dict[str, Any]
    """In the form of our config files."""
    not_honored: list[str] = field(default_factory=list)
    """One line for each thing that is different here, beginning with its path in the JSON."""
    notes: list[str] = field(default_factory=list)
    """One line for each thing that is worth knowing."""

    def text(self, file: Path) -> str:
        """The config as YAML, with what was said about it as comments."""
        lines = [f"Made from {file.name}, a config of the unofficial code.", *self.notes]
        lines += ["Not as it says there:", *(f"  {line}" for line in self.not_honored)] if self.not_honored else []
        head = "".join(f"# {line}\n" for line in lines)
        dumped = yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
        return f"{head}\n{dumped}"

    def report(self) -> str:
        """For the person who asked for it."""
        lines = [f"not honored: {line}" for line in self.not_honored] + [f"note: {line}" for line in self.notes]
        return "\n".join(lines)
