"""The paper's numbers: complete, with our names, and found for our rows."""

from typing import get_args

import pytest

from palette.config.tasks import DEGRADATIONS, MaskKind
from palette.publish.tables.published import lookup, published

CONDITIONS = {"", "*", "unknown", "5", "10", "20", *get_args(MaskKind)}


def test_every_table_of_the_paper_is_there() -> None:
    assert {number.table for number in published()} == set(range(1, 12))


def test_names_are_ours() -> None:
    for number in published():
        assert number.task in DEGRADATIONS
        assert number.condition in CONDITIONS
        assert number.kind in ("own", "prior", "originals")
        assert number.certainty in ("two sources agree", "one source")


def test_no_number_appears_twice() -> None:
    keys = [(n.table, n.dataset, n.task, n.condition, n.model, n.metric) for n in published()]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("table", "task", "condition", "model", "metric", "value"),
    [
        (1, "colorization", None, "palette", "fd", 15.78),
        (1, "colorization", None, "originals", "is", 229.6),
        (2, "inpainting", "centre", "palette", "pd", 59.5),
        (2, "inpainting", "free-form-20-30", "palette", "fd", 5.2),
        (3, "uncropping", "right", "palette", "ca", 63.4),
        (4, "jpeg", "5", "regression", "fd", 29.0),
        (4, "jpeg", "20", "palette", "is", 208.7),
        (4, "jpeg", "10", "originals", "fd", 2.7),
    ],
)
def test_our_rows_find_their_numbers(
    table: int, task: str, condition: str | None, model: str, metric: str, value: float
) -> None:
    number = lookup(table, task, condition, model, metric)
    assert number is not None
    assert number.value == value
    assert number.dataset == "imagenet"


@pytest.mark.parametrize(
    ("task", "condition", "model", "metric"),
    [("jpeg", "30", "palette", "fd"), ("jpeg", "5", "palette", "psnr"), ("colorization", None, "palette", "fd")],
)
def test_missing_numbers_are_none(task: str, condition: str | None, model: str, metric: str) -> None:
    assert lookup(4, task, condition, model, metric) is None
