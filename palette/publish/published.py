"""The numbers of the paper's Tables 1-11, from `published.csv` beside this file.

They were made with ImageNet or Places2 at 256 pixels and networks trained a thousand times longer: they show the order to expect, not
values to reach with another dataset.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

NAMES = {"fd": "fid"}
"""Our name of a metric → the paper's, where they differ."""


@dataclass(frozen=True)
class Number:
    """A number of the paper."""

    table: int
    dataset: str
    task: str
    condition: str
    """Mask or JPEG quality; empty for colorization; `*` where it holds for all; `unknown` where the paper does not say."""
    model: str
    """`palette`, `regression`, `originals`, a variant (`palette, L1`), or the prior method's name."""
    kind: str
    """`own`: the authors' models. `prior`: methods that they compare with. `originals`."""
    metric: str
    value: float
    certainty: str
    """`two sources agree`, or `one source`: only one transcription of the paper has it."""
    source: str


@cache
def published() -> tuple[Number, ...]:
    """Every number, in the paper's order."""
    text = files("palette.publish").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(_number(row) for row in csv.DictReader(text.splitlines()))


def _number(row: dict[str, str]) -> Number:
    table, value = int(row.pop("table")), float(row.pop("value"))
    return Number(table=table, value=value, **row)


def lookup(table: int, task: str, condition: str | None, model: str, metric: str) -> Number | None:
    """The number of the paper's `table` for one of our rows, from the first dataset of that table; None if there is none.

    task: degradation. condition: mask or JPEG quality as in our rows. metric: our name, as a table's column (`fd`).
    """
    for number in published():
        fits = (number.table, number.task, number.model) == (table, task, model)
        if fits and number.metric == NAMES.get(metric, metric) and number.condition in ("*", condition or ""):
            return number
    return None
