"""Tasks: each module in this folder is one, named after its file, with `-` for `_`."""

from importlib import import_module
from pathlib import Path

from palette.data.images.degraded import Degraded, Evaluation, Task, condition

__all__ = ["TASKS", "Degraded", "Evaluation", "Task", "condition", "find", "title"]

OPTIONAL = {"TITLE": "title", "LABEL": "label", "STRENGTH": "strength", "MASK": "mask"}
"""Constant of a task's file → field of `Task`."""


def find(folder: Path, package: str) -> dict[str, Task]:
    """Return task name → task for each Python file in `folder`, imported from `package`, in alphabetical order."""
    tasks = {}
    for stem in sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("_")):
        module, name = import_module(f"{package}.{stem}"), stem.replace("_", "-")
        given = {field: getattr(module, constant) for constant, field in OPTIONAL.items() if hasattr(module, constant)}
        tasks[name] = Task(module.train, module.evaluate, **{"title": name.capitalize(), **given})
    return tasks


TASKS = find(Path(__file__).parent, __name__)


def title(name: str | None, shown: str | None) -> str:
    """Return the title of a test in tables: `JPEG restoration, quality 5`. shown: mask or strength, if there is one."""
    if not name:
        return "Original images"
    task = TASKS[name]
    return f"{task.title}, {task.label.format(shown)}" if task.label else task.title
