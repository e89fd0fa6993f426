"""Families of the data rooms: each name that a config may say has a row, and each row can be named in a config."""

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import ValidationError

import palette
from palette.config import Config
from palette.config.datasets import Fetch, KnownDataset
from palette.config.options import Options
from palette.config.tasks import Task
from palette.data.masks.drawn import MASKS
from palette.data.sources.readers import OWN, PUBLISHED, READERS
from palette.data.tasks import TASKS
from palette.planning.checks import names_exist

DATA = Path(palette.__file__).parent / "data"


class Family(NamedTuple):
    """Rows, and the option of the config that names them. others: further options that are required with it."""

    rows: MutableMapping[str, Any]
    section: type[Options]
    option: str
    others: dict[str, Any]


FAMILIES = {
    "task": Family(TASKS, Task, "degradation", {}),
    "mask kind": Family(MASKS, Task, "mask", {"degradation": "inpainting"}),
    "reader": Family(PUBLISHED, KnownDataset, "reader", {"title": "x"}),
}


def enums(schema: Any) -> Iterator[list[str]]:
    """All lists of choices in a schema."""
    if isinstance(schema, dict):
        if "enum" in schema:
            yield schema["enum"]
        for part in schema.values():
            yield from enums(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from enums(part)


def choices(family: Family) -> list[str]:
    (found,) = enums(Config.model_json_schema()["$defs"][family.section.__name__]["properties"][family.option])
    return found


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_the_schema_lists_all_rows_and_nothing_else(family: Family) -> None:
    assert choices(family) == list(family.rows)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_name_without_a_row_is_refused(family: Family) -> None:
    with pytest.raises(ValidationError, match="should be"):
        family.section.model_validate({**family.others, family.option: "nothing"})


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_each_row_can_be_named(family: Family) -> None:
    for name, row in family.rows.items():
        others = {"degradation": row.task} if family.option == "mask" else family.others
        if name == "torchvision":
            others = {**others, "torchvision": "CIFAR10", "arguments": {"train": {"train": True}}}
        assert getattr(family.section.model_validate({**others, family.option: name}), family.option) == name


@pytest.mark.parametrize(("folder", "rows"), [("tasks", TASKS), ("sources/readers", READERS)])
def test_each_file_is_a_row(folder: str, rows: dict[str, Any]) -> None:
    files = {file.stem.replace("_", "-") for file in (DATA / folder).glob("*.py") if file.stem != "__init__"}
    assert files == set(rows)


def test_each_source_can_be_named() -> None:
    """By `fetch.source`, or as the reader of a published dataset."""
    assert READERS.keys() == OWN.keys() | PUBLISHED.keys()
    for name in [*READERS, "nothing"]:
        problems = list(names_exist({"datasets": {"mine": {"fetch": {"source": name}}}}))
        published = name in ("imagenet", "celeba", "celeba-hq")  # also names of datasets in the registry
        assert (problems == []) == (name in OWN or published), name


@pytest.mark.parametrize("name", OWN)
def test_the_options_of_a_source_are_options(name: str) -> None:
    source = OWN[name]
    assert {*source.takes, *(option for group in source.needs for option in group)} <= Fetch.model_fields.keys()


def test_each_strength_is_an_option_of_its_task_alone() -> None:
    strengths = {name: task.strength for name, task in TASKS.items() if task.strength}
    assert {strength.name for strength in strengths.values()} == {"quality", "factor"}
    for name, strength in strengths.items():
        assert Task(degradation=name).strength == strength.default
        assert Task.model_validate({"degradation": name, strength.name: strength.most}).strength == strength.most
        with pytest.raises(ValidationError, match="less than or equal"):
            Task.model_validate({"degradation": name, strength.name: strength.most + 1})
        with pytest.raises(ValidationError, match=f"no meaning for colorization; it goes with {name}"):
            Task.model_validate({"degradation": "colorization", strength.name: strength.most})


def test_each_mask_belongs_to_a_task_with_a_default() -> None:
    for kind in MASKS.values():
        default = TASKS[kind.task].mask
        assert default is not None
        assert MASKS[default].task == kind.task
