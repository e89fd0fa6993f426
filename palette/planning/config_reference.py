"""JSON schema for editors, and reference of all options, both made from the classes in `palette/config`."""

import inspect
import json
from collections.abc import Iterator
from typing import Any, get_args

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from palette.config import Config
from palette.config.options import MOST, Options


def _sections(section: type[Options]) -> Iterator[type[Options]]:
    """Yield a section and those inside it, in the order of their options."""
    yield section
    for field in section.model_fields.values():
        for inner in _options_in(field.annotation):
            yield from _sections(inner)


def _options_in(annotation: Any) -> Iterator[type[Options]]:
    if isinstance(annotation, type) and issubclass(annotation, Options):
        yield annotation
    for argument in get_args(annotation):
        yield from _options_in(argument)


SECTIONS = tuple(dict.fromkeys(_sections(Config)))


def schema() -> str:
    """Return the text of `workflow/schemas/config.schema.json`."""
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    value: Any = field.default
    if isinstance(value, Options) or (isinstance(value, dict) and any(isinstance(v, Options) for v in value.values())):
        return "its defaults"
    return f"`{json.dumps(value, default=str)}`"


def _allowed(properties: dict[str, Any]) -> str:
    """Return the values that the schema allows, in short form."""
    choices = [p for p in (properties, *properties.get("anyOf", [])) if p.get("type") != "null"]
    shown: list[str] = []
    for choice in choices:
        if "enum" in choice:
            shown.append(", ".join(f"`{value}`" for value in choice["enum"]))
        elif "$ref" in choice:
            shown.append(f"[{choice['$ref'].rsplit('/')[-1]}](#{choice['$ref'].rsplit('/')[-1].lower()})")
        elif "type" in choice:
            bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
            limits = " ".join(
                f"{sign} {choice[key]:g}" for key, sign in bounds.items() if key in choice and choice[key] < MOST
            )
            shown.append(f"{choice['type']} {limits}".strip())
    return " or ".join(dict.fromkeys(shown))


def _section(section: type[Options]) -> list[str]:
    properties = section.model_json_schema(ref_template="#/$defs/{model}")["properties"]
    lines = [f"## {section.__name__}", ""]
    if section.__doc__:
        lines += [inspect.cleandoc(section.__doc__), ""]
    lines += ["| option | values | default | meaning |", "|---|---|---|---|"]
    for name, field in section.model_fields.items():
        meaning = " ".join((field.description or "").split())
        lines.append(f"| `{name}` | {_allowed(properties[name])} | {_default(field)} | {meaning} |".replace("``", "`"))
    return [*lines, ""]


def reference() -> str:
    """Return the text of `docs/config.md`."""
    head = [
        "# Every option",
        "",
        "Made from `palette/config` by `make generated`; a test keeps it true. Values of the paper stand in [brackets].",
        "Check a config without running anything: `python -m palette config -c my.yaml`.",
        "",
    ]
    return "\n".join(head + [line for section in SECTIONS for line in _section(section)])
