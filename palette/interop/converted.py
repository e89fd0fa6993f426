"""Result of converting a config of the unofficial code."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass
class Converted:
    """Converted JSON config, with notes."""

    config: dict[str, Any]
    """Config in the form of our config files."""
    not_honored: list[str] = field(default_factory=list)
    """One line for each setting that is different here, beginning with its path in the JSON."""
    notes: list[str] = field(default_factory=list)
    """One line for each further remark."""

    def text(self, file: Path) -> str:
        """Return the config as YAML, with the remarks as comments at the top."""
        lines = [f"Made from {file.name}, a config of the unofficial code.", *self.notes]
        lines += ["Not as it says there:", *(f"  {line}" for line in self.not_honored)] if self.not_honored else []
        head = "".join(f"# {line}\n" for line in lines)
        dumped = yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
        return f"{head}\n{dumped}"

    def report(self) -> str:
        """Return the remarks as text for the user."""
        lines = [f"not honored: {line}" for line in self.not_honored] + [f"note: {line}" for line in self.notes]
        return "\n".join(lines)
