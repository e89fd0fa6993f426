"""Tasks: each module in this folder is one, named after its file, with `-` for `_`."""

from importlib import import_module
from pathlib import Path
from typing import cast

from palette.data.images.degraded import Degraded, Evaluation, TaskModule, condition

__all__ = ["TASKS", "Degraded", "Evaluation", "TaskModule", "condition", "find"]


def find(folder: Path, package: str) -> dict[str, TaskModule]:
    """Return task name → module for each Python file in `folder`, imported from `package`, in alphabetical order."""
    stems = sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("_"))
    return {stem.replace("_", "-"): cast(TaskModule, import_module(f"{package}.{stem}")) for stem in stems}


TASKS: dict[str, TaskModule] = find(Path(__file__).parent, __name__)
