"""Kinds of stages as the files next to this one declare them, read without importing any: help appears at once."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple


class Listed(NamedTuple):
    """Kind of stage: what its class declares, and the text at the top of its file."""

    verb: str
    reads: tuple[str, ...]
    scattered: bool
    about: str


@cache
def listed() -> dict[str, Listed]:
    """Return kind → what its file declares, each after the kinds that it reads."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("[!_]*.py")):
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text if f'kind = "{file.stem}"' in text else "")
        for node in tree.body:
            facts = _constants(node) if isinstance(node, ast.ClassDef) else {}
            if isinstance(node, ast.ClassDef) and facts.get("kind") == file.stem:
                scattered = any(ast.unparse(base) == "Sharded" for base in node.bases)
                about = ast.get_docstring(tree) or ""
                found[file.stem] = Listed(facts["verb"], facts.get("reads", ()), scattered, about)
    order = TopologicalSorter({kind: facts.reads for kind, facts in found.items()})
    return {kind: found[kind] for kind in order.static_order()}


def _constants(node: ast.ClassDef) -> dict[str, Any]:
    assigned = {ast.unparse(s.targets[0]): s.value for s in node.body if isinstance(s, ast.Assign)}
    return {name: ast.literal_eval(assigned[name]) for name in ("kind", "verb", "reads") if name in assigned}


class Verb(NamedTuple):
    """Command that runs stages, as the first lines of the file of its name describe it."""

    help: str
    example: str
    scattered: bool
    """Whether any of its stages has shards."""


def verbs() -> dict[str, Verb]:
    """Return the commands that run stages, in the order of the stages."""
    found = {}
    for verb in (kind for kind, facts in listed().items() if kind == facts.verb):
        about, _, example = listed()[verb].about.partition("Example: ")
        example = example or f"python -m palette {verb} -c results/{verb}/photos-1a2b3c4d5e/spec.yaml"
        scattered = any(facts.scattered for facts in listed().values() if facts.verb == verb)
        found[verb] = Verb(about.partition("\n\n")[0].replace("\n", " "), example, scattered)
    return found
