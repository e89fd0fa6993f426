"""The numbers of the paper's Tables 1-11, from `published.csv` beside this file.

They were obtained on ImageNet or Places2 at 256 pixels with networks trained a thousand times longer: they show the
expected order, not values to reach with another dataset.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

NAMES = {"fd": "fid", "diversity-lpips": "lpips-diversity"}
"""Our name of a metric → the paper's, where they differ."""
PARAMETERS = "parameters-millions"
"""The size of a network, a column of Table 5."""
METRICS = (PARAMETERS, "fid", "is", "ca", "pd", "lpips-diversity", "fool-rate")
"""The paper's columns, in the order of its tables."""
ANY = ("*", "unknown")
"""Conditions that match each of ours: the number holds for all, or the paper does not say for which."""


@dataclass(frozen=True)
class Number:
    """A number of the paper."""

    table: int
    dataset: str
    task: str
    condition: str
    """Mask or JPEG quality; empty for colorization; `*` if it holds for all; `unknown` if the paper does not say."""
    model: str
    """`palette`, `regression`, `originals`, a variant (`palette, L1`), or the prior method's name."""
    kind: str
    """`own`, `prior` (a method that the authors compare with) or `originals`."""
    metric: str
    value: float
    text: str
    """The value as the paper prints it."""
    certainty: str
    """`two sources agree`, or `one source`: only one transcription of the paper has it."""
    source: str


@cache
def published() -> tuple[Number, ...]:
    """Return every number, in the paper's order."""
    text = files("palette.publish.tables").joinpath("published.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(
        Number(**row | {"table": int(row["table"]), "value": float(row["value"]), "text": row["value"]}) for row in rows
    )


def of_table(table: int) -> list[Number]:
    """Return the numbers of one table, in the paper's order."""
    return [number for number in published() if number.table == table]


def metrics(table: int) -> list[str]:
    """Return the columns of a table by the paper's names, in its order."""
    return sorted({number.metric for number in of_table(table)}, key=METRICS.index)


def models(table: int) -> list[str]:
    """Return the rows of a table, in the paper's order."""
    return list(dict.fromkeys(number.model for number in of_table(table)))


def lookup(
    table: int, task: str, condition: str | None, model: str, metric: str, dataset: str | None = None
) -> Number | None:
    """Return the number of the paper's `table` for one of our rows; None if there is none.

    task: degradation. condition: mask or JPEG quality as in our rows. metric: our name, as a table's column (`fd`).
    dataset: the paper's name; None: the first one of that table that has the number.
    """
    for number in of_table(table):
        fits = (number.task, number.model, number.metric) == (task, model, NAMES.get(metric, metric))
        if fits and number.condition in (*ANY, condition or "") and dataset in (None, number.dataset):
            return number
    return None
