"""Which code a stage runs, as a hash that sees through comments, docstrings and formatting.

The modules are found by following the import statements of the stage's entry module inside this package. Only the engine
counts (`ENGINE`): the plumbing around it (command line, config, plan, progress, cards) decides what is run, not what comes out.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
ENGINE = ("verbs", "data", "model", "diffusion", "training", "scoring", "publish")
ONLY_SHOWS = {"palette.training.previews", "palette.training.board"}
"""Engine modules that show a training to people. Neither they nor what they import (samplers) decide its weights."""


def _strip_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [
                statement
                for statement in node.body
                if not (
                    isinstance(statement, ast.Expr)
                    and isinstance(statement.value, ast.Constant)
                    and isinstance(statement.value.value, str)
                )
            ]
    return tree


def plain(node: object) -> object:
    """A syntax tree as nested lists, the same in every version of Python: fields that a version adds are empty in old code."""
    if isinstance(node, ast.AST):
        fields = [[name, plain(value)] for name, value in ast.iter_fields(node) if value is not None and value != []]
        return [type(node).__name__, *fields]
    return [plain(item) for item in node] if isinstance(node, list) else repr(node)


def _file(module: str) -> Path | None:
    """The source file of `palette.x.y`, or None if there is no such module."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)


@cache
def _parse(module: str) -> tuple[str, tuple[str, ...]]:
    """Digest of one module's syntax tree, and the modules of this package that it imports."""
    file = _file(module)
    assert file is not None
    tree = ast.parse(file.read_bytes())
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            imported |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    inside = {name for name in imported if name.startswith("palette.") and _file(name)}
    if module.endswith(".tasks"):  # a folder found by listing: each file in it is part of the engine
        inside |= {f"{module}.{task.stem}" for task in file.parent.glob("*.py") if task.stem != "__init__"}
    digest = hashlib.sha256(repr(plain(_strip_docstrings(tree))).encode()).hexdigest()
    return digest, tuple(sorted(inside))


def modules(entry: str) -> list[str]:
    """The engine modules that `entry` runs, itself included, sorted."""
    found: set[str] = set()
    waiting = [entry]
    while waiting:
        module = waiting.pop()
        if module in found | ONLY_SHOWS or module.split(".")[1] not in ENGINE:
            continue
        found.add(module)
        waiting += _parse(module)[1]
    return sorted(found)


def _data_files(found: list[str]) -> list[Path]:
    """The templates and tables that the code of these modules reads, in the folders of their packages."""
    packages = {PACKAGE / module.split(".")[1] for module in found}
    return sorted(f for p in packages for f in p.rglob("[!.]*") if f.suffix in (".csv", ".html", ".css", ".js"))


@cache
def digests(entry: str) -> dict[str, str]:
    """File of the package → ten hex digits over its syntax tree or bytes: `modules(entry)` and the data files beside them."""
    found = modules(entry)
    code = {str(file.relative_to(PACKAGE.parent)): _parse(module)[0] for module in found if (file := _file(module))}
    data = {
        str(file.relative_to(PACKAGE.parent)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in _data_files(found)
    }
    return {file: digest[:10] for file, digest in (code | data).items()}


@cache
def fingerprint(entry: str) -> str:
    """Ten hex digits over `digests(entry)`."""
    lines = [f"{file}:{digest}" for file, digest in digests(entry).items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:10]
