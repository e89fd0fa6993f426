"""Reading a config: every mistake at once, each with file, line, value, what is allowed and the nearest valid name."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from palette.config import Config
from palette.errors import ConfigError

Path_ = tuple[str | int, ...]
"""Where something stands in a config: ("models", "palette", "train", "steps")."""


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
    "float_type": "should be a number",
    "float_parsing": "should be a number, `0.001` or `1.0e-3`",
    "too_short": "needs at least one entry",
}
"""What pydantic says in Python's terms, in those of a config."""


class Problem(NamedTuple):
    """One mistake."""

    path: Path_
    text: str


# -------------------------------------------------------------------------------------------- YAML and lines


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key written twice is an error: plain YAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *other` may be repeated by its own keys
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands here twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(file: Path) -> dict[str, Any]:
    """A YAML file's mapping. Raises ConfigError with file and line for what is not one."""
    try:
        value = yaml.load(file.read_text(encoding="utf-8"), _UniqueKeys)
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file.") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}). A config is a YAML file.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not a text file in UTF-8 ({error}).") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(f"{file}:{line}: not valid YAML: {error.problem}.") from None
    except (yaml.YAMLError, TypeError) as error:  # TypeError: a list or a mapping as a key
        raise ConfigError(f"{file}: not valid YAML: {error}.") from None
    if not isinstance(value, dict):
        found = (
            "it is empty" if value is None else f"this is {'a list' if isinstance(value, list) else 'a single value'}"
        )
        raise ConfigError(f"{file}: a config is a mapping of sections ({', '.join(Config.model_fields)}); {found}.")
    return value


def _lines(node: yaml.Node | None, path: Path_ = ()) -> Iterable[tuple[Path_, int]]:
    """Each path in a YAML tree with its line, from 1."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark.line + 1
            yield from _lines(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, index), item.start_mark.line + 1
            yield from _lines(item, (*path, index))


class Places:
    """Where each option of a config was written: `places(path)` → `config.yaml:12`."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._lines = {
            path: f"{file}:{line}"
            for file in files
            for path, line in _lines(yaml.compose(file.read_text(encoding="utf-8"), yaml.SafeLoader))
        }
        self._default = str(files[-1]) if files else "config"

    def __call__(self, path: Path_) -> str:
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, self._default)


# ------------------------------------------------------------------------------------------------- messages


def closest(name: object, allowed: Iterable[object]) -> str:
    """` Did you mean 'steps'?`, or nothing."""
    near = difflib.get_close_matches(str(name), [str(a) for a in allowed], n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def _inner(annotation: Any, part: str | int) -> Any:
    """The type of the entry `part` inside a value of type `annotation`."""
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
    """The section class at `path`."""
    annotation: Any = Config
    for part in path:
        annotation = _inner(annotation, part)
    candidates = [annotation, *get_args(annotation)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _value_at(raw: Any, path: Path_) -> Any:
    for part in path:
        known = (isinstance(raw, list) and isinstance(part, int)) or (isinstance(raw, Mapping) and part in raw)
        raw = raw[part] if known else None
    return raw


def _known_path(raw: Any, location: Path_) -> Path_:
    """`location` as pydantic gives it, without the union members and `[key]` marks that it mixes in."""
    path: Path_ = ()
    for part in location:
        value = _value_at(raw, path)
        if (isinstance(value, Mapping) and part in value) or (isinstance(value, list) and isinstance(part, int)):
            path = (*path, part)
    return path


def _problem(raw: Any, error: Mapping[str, Any]) -> Problem:
    """One pydantic error in our words."""
    location: Path_ = error["loc"]
    given = error["input"]
    if error["type"] == "extra_forbidden":
        section = _model_at(location[:-1])
        allowed = list(section.model_fields) if section else []
        return Problem(location, f"unknown key.{closest(location[-1], allowed)} Allowed: {', '.join(allowed)}.")
    if error["type"] == "missing":
        return Problem(location, "missing; it has no default.")
    path = _known_path(raw, location)
    if "[key]" in location:
        quoted = "" if isinstance(given, str) else " In YAML a number, a date, yes and no are words in quotes only."
        return Problem(
            path, f"{given!r} is not a name: lower-case letters, digits, '.', '_' and '-', at most 60.{quoted}"
        )
    said = error["msg"].removeprefix("Value error, ").removeprefix("Input ").removesuffix(".")
    text = WORDS.get(error["type"], said)
    choices = said.partition("should be ")[2].removeprefix("one of ").replace(" or ", ", ").split(", ")
    allowed = [choice.strip("'") for choice in choices]
    shown = "" if isinstance(given, Mapping) else f" (given: {'nothing' if given is None else repr(given)})"
    return Problem(path, f"{text}{shown}.{closest(given, allowed) if isinstance(given, str) else ''}")


def _without(raw: Any, paths: Iterable[Path_]) -> Any:
    """A copy of `raw` without the entries at `paths`."""
    gone = set(paths)

    def copy(value: Any, path: Path_) -> Any:
        if isinstance(value, Mapping):
            return {k: copy(v, (*path, k)) for k, v in value.items() if (*path, k) not in gone}
        if isinstance(value, list):
            return [copy(v, (*path, i)) for i, v in enumerate(value) if (*path, i) not in gone]
        return value

    return copy(raw, ())


def _mistakes(raw: Any, error: ValidationError) -> list[Problem]:
    """The mistakes behind a validation error, without those that only follow from a deeper one."""
    found = [(_problem(raw, e), e["type"]) for e in error.errors()]
    deeper = {p.path[:length] for p, _ in found for length in range(len(p.path))}
    return list(dict.fromkeys(p for p, kind in found if not (kind == "too_short" and p.path in deeper)))


def validate(raw: Mapping[str, Any]) -> tuple[Config | None, list[Problem]]:
    """The config, and every mistake in it.

    With mistakes, the config is what remains without the faulty entries, so that later checks can report theirs in the same
    breath; None if too little remains.
    """
    problems: list[Problem] = []
    remaining: Any = raw
    for attempt in range(4):
        try:
            return Config.model_validate(remaining), problems
        except ValidationError as error:
            if attempt == 0:
                problems = _mistakes(raw, error)
            remaining = _without(remaining, [_problem(remaining, e).path for e in error.errors()])
    return None, problems


def _file_and_line(message: str) -> tuple[str, int]:
    file, line, *_ = message.split(":")
    return file, int(line) if line.isdigit() else 0


def refuse(problems: Sequence[Problem], places: Places) -> None:
    """Raise one ConfigError that lists all `problems` with file and line, in the order of the file; nothing if there are none."""
    if not problems:
        return
    lines = [f"{places(p.path)}: {'.'.join(map(str, p.path)) or 'config'}: {p.text}" for p in problems]
    count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    raise ConfigError(f"{count} in the config; nothing was run.\n  " + "\n  ".join(sorted(lines, key=_file_and_line)))
