"""Config reader that reports every mistake at once: file, line, value, what is allowed and the closest valid name."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from yaml.constructor import SafeConstructor

from palette.config import Config
from palette.config.renamed import OPTIONS, VALUES
from palette.errors import ConfigError
from palette.stages.base import Loader

Path_ = tuple[str | int, ...]
"""Position in a config: ("models", "palette", "train", "steps")."""
DEEPEST, MOST_VALUES = 32, 1_000_000
"""Limits of a config: levels and values, with all aliases and merges written out."""
PLAIN = {"str", "int", "float", "bool", "null", "timestamp", "seq", "map", "merge"}
"""YAML types of the values that a config may have."""


WORDS = {
    "dict_type": "should be a mapping, `name: value`",
    "model_type": "should be a mapping of options",
    "model_attributes_type": "should be a mapping of options",
    "tuple_type": "should be a list, `[…]`",
    "path_type": "should be a path",
    "string_type": "should be text",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "int_parsing_size": "is too large",
    "float_type": "should be a number",
    "float_parsing": "should be a number, `0.001` or `1.0e-3`",
    "too_short": "needs at least one entry",
}
"""Type of a pydantic error → message in a config's terms."""


class Problem(NamedTuple):
    """One mistake in a config."""

    path: Path_
    text: str


def read_yaml(file: Path) -> dict[str, Any]:
    """Return a YAML file's mapping. Raises ConfigError with the line of anything else, or of a value that YAML misreads."""
    try:
        tree = _compose(file.read_text(encoding="utf-8"))
        walk = _Walk()
        if tree is not None:
            walk.visit(tree)
        refuse(walk.problems, Places([file]))
        value = SafeConstructor().construct_document(tree) if tree else None
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file.") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}). A config is a YAML file.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not a text file in UTF-8 ({error}).") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(f"{file}:{line}: not valid YAML for a config: {error.problem}.") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an invalid date, a number with thousands of digits
        raise ConfigError(f"{file}: not valid YAML for a config: {error}.") from None
    if not isinstance(value, dict):
        kinds = {type(None): "it is empty", list: "this is a list"}
        found = kinds.get(type(value), "this is a single value")
        raise ConfigError(f"{file}: a config is a mapping of sections ({', '.join(Config.model_fields)}); {found}.")
    return value


def _compose(text: str) -> yaml.Node | None:
    """Return the tree of a YAML text. Raises MarkedYAMLError if it is nested too deeply for recursive parsers."""
    depth = 0
    for event in yaml.parse(text, Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"nested more than {DEEPEST} deep", problem_mark=event.start_mark)  # type: ignore[arg-type]  # of the parser in C
    return yaml.compose(text, Loader)


class _Walk:
    """Visitor of each node of a YAML tree that finds what YAML silently accepts although the author cannot mean it.

    An alias is not followed again, so a few lines that stand for billions of values are found without writing them out.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._sizes: dict[yaml.Node, tuple[int, int]] = {}

    def visit(self, node: yaml.Node, path: Path_ = ()) -> tuple[int, int]:
        """Return how many values a node stands for, and how deeply they are nested.

        Raises MarkedYAMLError if they are too many or too deep, and for tags and keys that a config must not have.
        """
        if node in self._sizes:
            return self._sizes[node]
        if node.tag.removeprefix("tag:yaml.org,2002:") not in PLAIN:
            raise yaml.MarkedYAMLError(problem=f"the tag {node.tag}; write a plain value", problem_mark=node.start_mark)
        self._sizes[node] = MOST_VALUES, DEEPEST  # a node that contains itself never ends
        count, depth = 1, 0
        for part, child in self._children(node, path):
            inner_count, inner_depth = self.visit(child, (*path, part))
            count, depth = count + inner_count, max(depth, inner_depth + 1)
        if count > MOST_VALUES or depth > DEEPEST:
            text = f"it stands for more than {MOST_VALUES:,} values, or {DEEPEST} levels of them, with its aliases written out"
            raise yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)
        self._sizes[node] = count, depth
        return count, depth

    def _children(self, node: yaml.Node, path: Path_) -> Iterator[tuple[str | int, yaml.Node]]:
        if isinstance(node, yaml.SequenceNode):
            yield from enumerate(node.value)
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise yaml.MarkedYAMLError(problem="a list or a mapping as a key", problem_mark=key.start_mark)
                if key.value in seen and not key.tag.endswith(":merge"):  # plain YAML silently keeps the last
                    self.problems.append(Problem((*path, key.value), "duplicate key; remove one of them."))
                seen.add(key.value)
                yield key.value, key
                yield key.value, value
        elif node.tag.endswith((":int", ":float")):
            self._number(node, path)

    def _number(self, node: yaml.Node, path: Path_) -> None:
        """Record a number that YAML reads in base 8 or 60."""
        text = node.value
        if ":" in text:
            way_out = f"in base 60. Write {SafeConstructor().construct_object(node)}, or '{text}' in quotes if it is no number."
        elif re.fullmatch(r"[-+]?0[0-7_]+", text):
            way_out = f"as octal. Write {int(text.replace('_', ''))}, or {SafeConstructor().construct_object(node)} if that is meant."
        else:
            return
        self.problems.append(Problem(path, f"YAML reads {text} {way_out}"))


def _lines(node: yaml.Node | None, path: Path_) -> list[int]:
    """Return the lines, from 1, of the parts of `path`, as far as a YAML tree has them."""
    lines = []
    for part in path:
        if isinstance(node, yaml.MappingNode):
            names = {str(part), *(old[-1] for old, new in OPTIONS.items() if new == part)}
            found = next(((key, value) for key, value in reversed(node.value) if key.value in names), None)
        else:
            known = isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value)
            found = (node.value[part], node.value[part]) if known else None  # type: ignore[union-attr]
        if found is None:
            break
        key, node = found
        lines.append(key.start_mark.line + 1)
    return lines


class Places:
    """Lookup of where the options of a config were written: `places(path)` → `config.yaml:12`."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    @cached_property
    def _trees(self) -> list[tuple[Path, yaml.Node | None]]:
        return [(file, _compose(file.read_text(encoding="utf-8"))) for file in reversed(self._files)]

    def __call__(self, path: Path_) -> str:
        """Return the place, in the last file that has it, of `path` or the deepest section around it that exists."""
        found = [(file, _lines(tree, path)) for file, tree in self._trees]
        file, lines = max(found, key=lambda place: len(place[1]), default=("config", []))
        return f"{file}:{lines[-1]}" if lines else str(file)


def closest(name: object, allowed: Iterable[object]) -> str:
    """Return ` Did you mean 'steps'?` for a similar allowed name, or an empty string."""
    near = difflib.get_close_matches(str(name), [str(a) for a in allowed], n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def unknown(kind: str, name: object, allowed: Collection[object], heading: str = "") -> str:
    """Return ` no dataset is called 'photo'.` with the closest of the allowed names, and with a heading, all of them."""
    choice = f" {heading}{', '.join(map(str, allowed)) or 'none'}." if heading else ""
    return f"no {kind} is called {name!r}.{closest(name, allowed)}{choice}"


def renamed(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem], list[Problem]]:
    """Return a config with today's names, notes on the old ones, and problems: an option under both of its names."""
    config, notes, problems = deepcopy(dict(raw)), [], []
    for place, new in OPTIONS.items():
        old = place[-1]
        for path, section in values_at(config, place[:-1]):
            if not isinstance(section, dict) or old not in section:
                continue
            notes.append(Problem((*path, old), f"`{old}` is called `{new}` now; please rename it."))
            if new in section:
                problems.append(Problem((*path, new), f"`{old}` is its old name. Move the entries of `{old}` here."))
            section.setdefault(new, section.pop(old))
    for place, values in VALUES.items():
        option = place[-1]
        for path, section in values_at(config, place[:-1]):
            value = section.get(option) if isinstance(section, dict) else None
            if isinstance(value, str) and value in values:
                text = f"`{option}: {value}` is called `{values[value]}` now; please rename it."
                notes.append(Problem((*path, option), text))
                section[option] = values[value]
    return config, notes, problems


def values_at(value: Any, place: Sequence[str], path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Yield path and content of what a raw config has at `place`, in which `*` stands for any name or number."""
    if not place:
        yield path, value
    elif place[0] == "*":
        entries = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
        for name, entry in entries:
            yield from values_at(entry, place[1:], (*path, name))
    elif isinstance(value, Mapping) and place[0] in value:
        yield from values_at(value[place[0]], place[1:], (*path, place[0]))


def _inner(annotation: Any, part: str | int) -> Any:
    """Return the type of the entry `part` inside a value of type `annotation`; None if there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return field.annotation if field else None
    arguments = [a for a in get_args(annotation) if a not in (NoneType, Ellipsis)]
    if get_origin(annotation) is dict:
        return arguments[1]
    if get_origin(annotation) is tuple:
        return arguments[0]
    return next((found for a in arguments if (found := _inner(a, part)) is not None), None)


def _model_at(path: Path_) -> type[BaseModel] | None:
    """Return the section class at `path`; None if there is none."""
    annotation: Any = Config
    for part in path:
        annotation = _inner(annotation, part)
    candidates = [annotation, *get_args(annotation)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _known_path(raw: Any, location: Path_) -> Path_:
    """Return pydantic's `location` without the union members and `[key]` marks that it mixes in."""
    path: Path_ = ()
    for part in location:
        entry = isinstance(raw, list) and isinstance(part, int) and part < len(raw)
        if entry or (isinstance(raw, Mapping) and part in raw):
            path, raw = (*path, part), raw[part]
    return path


def _place(raw: Any, error: Mapping[str, Any]) -> Path_:
    """Return the position in a config that a pydantic error is about."""
    location: Path_ = (*error["loc"], *error.get("ctx", {}).get("entry", ()))
    if error["type"] == "extra_forbidden" or (error["type"] == "missing" and isinstance(location[-1], str)):
        return location
    return _known_path(raw, location)


def _text(path: Path_, errors: Sequence[Mapping[str, Any]]) -> str:
    """Return what pydantic has found wrong at one position, in a config's terms."""
    kind, given = errors[0]["type"], errors[0]["input"]
    if kind == "extra_forbidden":
        section = _model_at(path[:-1])
        allowed = list(section.model_fields) if section else []
        return f"unknown key.{closest(path[-1], allowed)} Allowed: {', '.join(allowed)}."
    if kind == "missing":
        return "missing; it has no default." if isinstance(errors[0]["loc"][-1], str) else "has too few entries."
    if "[key]" in errors[0]["loc"]:
        quoted = "" if isinstance(given, str) else " YAML reads numbers, dates, yes and no as values; quote the name."
        return f"{given!r} is not a name: lower-case letters, digits, '.', '_' and '-', at most 60.{quoted}"
    said = [e["msg"].removeprefix("Value error, ").removeprefix("Input ").removesuffix(".") for e in errors]
    words = dict.fromkeys(WORDS.get(e["type"], text) for e, text in zip(errors, said, strict=True))
    text = " or ".join(words).replace(" or should be ", " or ")
    choices = [
        text.partition("should be ")[2].removeprefix("one of ").replace(" or ", ", ").split(", ") for text in said
    ]
    allowed = [choice.strip("'") for several in choices for choice in several]
    shown = "" if isinstance(given, Mapping) else f" (given: {'nothing' if given is None else repr(given)})"
    return f"{text}{shown}.{closest(given, allowed) if isinstance(given, str) else ''}"


def _without(raw: Any, paths: Iterable[Path_]) -> Any:
    """Return a copy of `raw` without the entries at `paths`."""
    gone = set(paths)

    def copy(value: Any, path: Path_) -> Any:
        if isinstance(value, Mapping):
            return {k: copy(v, (*path, k)) for k, v in value.items() if (*path, k) not in gone}
        if isinstance(value, list):
            return [copy(v, (*path, i)) for i, v in enumerate(value) if (*path, i) not in gone]
        return value

    return copy(raw, ())


def _mistakes(raw: Any, error: ValidationError) -> list[Problem]:
    """Return the mistakes behind a validation error.

    Where several types are allowed, pydantic tells what is wrong for each of them. What only says that a value is of
    another type is left out where something says more, of the value or of an entry; so is an empty list's length.
    """
    found: dict[Path_, list[Mapping[str, Any]]] = {}
    for details in error.errors():
        found.setdefault(_place(raw, details), []).append(details)
    around = {path[:length] for path in found for length in range(len(path))}
    mistakes = []
    for path, several in found.items():
        vague = ("_type", "literal_error", "too_short") if path in around else ("_type", "literal_error")
        telling = [e for e in several if not e["type"].endswith(vague)]
        if telling:
            mistakes += [Problem(path, _text(path, [e])) for e in telling]
        elif path not in around:
            mistakes.append(Problem(path, _text(path, several)))
    return list(dict.fromkeys(mistakes))


def validate(raw: Mapping[str, Any]) -> tuple[Config | None, list[Problem]]:
    """Return the config and every mistake in it.

    With mistakes, the config is what remains without the faulty entries, so that later checks can report theirs at the
    same time; None if too little remains.
    """
    problems: list[Problem] = []
    remaining: Any = raw
    for attempt in range(4):
        try:
            return Config.model_validate(remaining), problems
        except ValidationError as error:
            if attempt == 0:
                problems = _mistakes(raw, error)
            remaining = _without(remaining, [_place(remaining, e) for e in error.errors()])
    return None, problems


def _file_and_line(message: str) -> tuple[str, int]:
    file, line, *_ = message.split(":")
    return file, int(line) if line.isdigit() else 0


def refuse(problems: Sequence[Problem], places: Places) -> None:
    """Raise one ConfigError that lists all `problems` with file and line, in the order of the file, if there are any."""
    if not problems:
        return
    lines = [f"{places(p.path)}: {'.'.join(map(str, p.path)) or 'config'}: {p.text}" for p in problems]
    count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    raise ConfigError(f"{count} in the config; nothing was run.\n  " + "\n  ".join(sorted(lines, key=_file_and_line)))
