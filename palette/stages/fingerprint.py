"""Fingerprint of the code that a stage runs: a hash that ignores comments, docstrings and formatting.

The modules are found by following the import statements of the stage's entry module inside this package. All of them
count except those in `DECIDE_NOTHING`. In modules that declare options, only the code that uses them counts.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from palette.system.files import read_json, write_json

PACKAGE = Path(__file__).parents[1]
DECIDE_NOTHING = {
    "palette.system.download",  # downloaded bytes are checked against their digest
    "palette.data.sources.survey",  # counts files for a plan
    "palette.errors",  # shown when there is no result
    "palette.system.files",  # writes whole files; their content comes from the caller
    "palette.stages.fingerprint",
    "palette.system.locks",  # lets one process run while others wait
    "palette.system.jobs",  # shows users what runs where
    "palette.system.progress",  # lines on the screen
    "palette.stages.base",  # hashes and names of files
    "palette.stages.kinds",  # lists the kinds
    "palette.stages.reading",  # reads a spec, whose content is in the hash itself
    "palette.stages.stage",  # paths and cards
    "palette.training.allocation",  # asks the cluster for more time
    "palette.training.log",  # shows users the progress of a training
    "palette.training.machine",  # rejects what a machine cannot do
    "palette.training.previews",  # shows images of a training
    "palette.training.scratch",  # its copies are checked against their digest
    "palette.training.signals",  # when a training saves and stops
}
"""Modules without influence on what a stage makes: they, and modules that only they import, do not count."""
DECLARING = ("palette.config.", "palette.stages.")
"""Modules whose classes declare options. The values are in the spec, so the hash covers them already."""

LISTED = {"palette.data.tasks", "palette.data.sources.readers", "palette.model.networks", "palette.scoring.extractors"}
"""Packages whose modules are found by listing the folder, so that each one counts."""

PLANNED = {"usual", "options", "work", "evaluation", "planned"}
"""Attributes and methods of these classes that only planning needs; what such methods import does not count either."""


def _strip_docstrings(tree: ast.Module) -> None:
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


def _strip_methods(tree: ast.Module) -> None:
    """Remove the methods that only planning calls, before their imports are followed."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            node.body = [s for s in node.body if not (isinstance(s, ast.FunctionDef) and s.name in PLANNED)]


def _strip_declarations(tree: ast.Module) -> None:
    """Remove fields, validators, types, classes with nothing else in them, and imports of names that only these use."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            node.body = [statement for statement in node.body if not _declares_option(statement)]
    tree.body = [statement for statement in tree.body if not _declares_type(statement)]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]:
        node.names = [alias for alias in node.names if (alias.asname or alias.name) in used]
        if not node.names:
            tree.body.remove(node)


def _declares_option(statement: ast.stmt) -> bool:
    """Return whether a statement in a class is a field, a validator or an attribute that only planning reads."""
    if isinstance(statement, ast.FunctionDef):
        return any("_validator" in ast.unparse(decorator) for decorator in statement.decorator_list)
    if isinstance(statement, ast.Assign):
        return ast.unparse(statement.targets[0]) in PLANNED
    if not isinstance(statement, ast.AnnAssign):
        return False
    return ast.unparse(statement.target) in PLANNED or not ast.unparse(statement.annotation).startswith("ClassVar")


def _declares_type(statement: ast.stmt) -> bool:
    """Return whether a statement in a module defines the name of a type, or a class without code."""
    if isinstance(statement, ast.Assign):
        return ast.unparse(statement.value).startswith(("Annotated[", "Literal["))
    return isinstance(statement, ast.ClassDef) and not statement.body


def essence(module: str, tree: ast.Module) -> object:
    """Return what counts of a module's syntax tree. The tree is modified."""
    _strip_docstrings(tree)
    if module.startswith(DECLARING):
        _strip_declarations(tree)
    return plain(tree)


def plain(node: object) -> object:
    """Return a syntax tree as nested lists that are the same in every version of Python.

    Fields that a version adds are empty in old code, and empty fields are left out.
    """
    if isinstance(node, ast.AST):
        fields = [[name, plain(value)] for name, value in ast.iter_fields(node) if value is not None and value != []]
        return [type(node).__name__, *fields]
    return [plain(item) for item in node] if isinstance(node, list) else repr(node)


def _file(module: str) -> Path | None:
    """Return the source file of `palette.x.y`; None if there is no such module."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a syntax tree, except those that only type checkers see."""
    yield tree
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from _run(node)


@cache
def _parse(module: str) -> tuple[str, tuple[str, ...]]:
    """Return the digest of a module's syntax tree, and the modules of this package that it imports."""
    file = _file(module)
    assert file is not None
    tree = ast.parse(file.read_bytes())
    if module.startswith(DECLARING):
        _strip_methods(tree)
    imported: set[str] = set()
    for node in _run(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            imported |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    inside = {name for name in imported if name.startswith("palette.") and _file(name)}
    if module in LISTED:
        inside |= {f"{module}.{member.stem}" for member in file.parent.glob("[!_]*.py")}
    digest = hashlib.sha256(repr(essence(module, tree)).encode()).hexdigest()
    return digest, tuple(sorted(inside))


def modules(entry: str) -> list[str]:
    """Return the modules that determine what `entry` makes, itself included, sorted."""
    found: set[str] = set()
    waiting = [entry]
    while waiting:
        module = waiting.pop()
        if module not in found | DECIDE_NOTHING:
            found.add(module)
            waiting += _parse(module)[1]
    return sorted(found)


def _data_files(found: list[str]) -> list[Path]:
    """Return the templates and tables that the code of these modules reads, in the folders of their packages."""
    packages = {PACKAGE / module.split(".")[1] for module in found}
    return sorted(f for p in packages for f in p.rglob("[!.]*") if f.suffix in (".csv", ".html", ".css", ".js"))


@cache
def digests(entry: str) -> dict[str, str]:
    """Return file of the package → ten hex digits over its syntax tree or bytes.

    The files are those of `modules(entry)` and the data files next to them.
    """
    found = modules(entry)
    code = {str(file.relative_to(PACKAGE.parent)): _parse(module)[0] for module in found if (file := _file(module))}
    data = {
        str(file.relative_to(PACKAGE.parent)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in _data_files(found)
    }
    return {file: digest[:10] for file, digest in (code | data).items()}


@cache
def fingerprint(entry: str) -> str:
    """Return ten hex digits over `digests(entry)`."""
    lines = [f"{file}:{digest}" for file, digest in digests(entry).items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:10]


def record_code(results: Path, kind: str) -> None:
    """Keep the digests of the code that runs now, so that other code can tell the difference without a card."""
    entry = f"palette.stages.{kind}"
    file = results / f".code/{fingerprint(entry)}.json"
    if not file.exists():
        write_json(file, digests(entry))


def recorded_code(results: Path, engine: str) -> dict[str, str] | None:
    """Return the digests of the code with a fingerprint; None if it has never run in this results folder."""
    file = results / f".code/{engine}.json"
    return dict(read_json(file)) if file.exists() else None
