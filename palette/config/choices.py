"""Choices that the engine offers, such as its samplers and metrics: a new one is added there, and the config knows its name.

The names are read from the engine's files as text. Importing them would import torch, which takes seconds.
"""

import ast
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class OneOf:
    """Annotation of a string that must be one of `names`; the JSON schema lists them."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.literal_schema(list(self.names))


def files(folder: str) -> tuple[str, ...]:
    """Return the names of the modules in a folder of the package, without those that start with `_`."""
    return tuple(sorted(file.stem for file in (PACKAGE / folder).glob("[!_]*.py")))


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes())


def _assigned(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def rows(pattern: str, name: str) -> tuple[str, ...]:
    """Return the names in the tables of that name in the files that match `pattern`, in their order.

    A table is a dictionary or tuple at the top of a module, written out; of a dictionary, its keys that are strings.
    """
    names: list[str] = []
    for file in sorted(PACKAGE.glob(pattern)):
        for statement in _parsed(file).body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and name in _assigned(statement):
                entries = getattr(statement.value, "keys", None) or getattr(statement.value, "elts", [])
                names += [str(entry.value) for entry in entries if isinstance(entry, ast.Constant)]
    return tuple(names)


@cache
def table(module: str, name: str) -> Any:
    """Return a family's table, such as that of the tasks, where its rows declare options of their own.

    Named, not imported: otherwise each stage with options would count the rows of all families as its own code. Such
    modules import no torch.
    """
    return getattr(import_module(module), name)
