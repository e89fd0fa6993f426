"""The tasks: each file in this folder is one, named as the file."""

from importlib import import_module
from pathlib import Path
from typing import cast

from palette.data.degraded import Degraded, TaskModule, condition

__all__ = ["TASKS", "Degraded", "TaskModule", "condition", "find"]


def find(folder: Path, package: str) -> dict[str, TaskModule]:
    """Task name → module, for each Python file in `folder`, imported as a part of `package`; in alphabetical order."""
    names = sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("_"))
    return {name: cast(TaskModule, import_module(f"{package}.{name}")) for name in names}


TASKS: dict[str, TaskModule] = find(Path(__file__).parent, __name__)
