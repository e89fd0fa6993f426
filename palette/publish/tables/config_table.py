"""A table of the config, with the best values marked. One that follows the paper is made in `paper_table.py`."""

from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd

from palette.config.scores import Table
from palette.publish.tables import paper_table
from palette.publish.tables.published import lookup
from palette.publish.tables.scores import LINE, SCORE, VALUE, best, by_test, each, read_scores
from palette.publish.tables.sheet import ARROWS, CELLS, MISSING, Sheet, printed, with_cells
from palette.stages.tabulate import TabulateSpec

HEADS = ("model", "NFE", "seeds", "images")
PUBLISHED = {"fd": "FID", "kid": "KID", "is": "IS", "ca": "CA %", "pd": "PD"}
"""The paper's column headings."""


def build(spec: TabulateSpec, results: Path) -> Sheet:
    """Build a table of the config from the scores of its rows, whose folders are relative to `results`."""
    if spec.table.paper:
        return paper_table.build(spec, results)
    scores = pd.concat(test.assign(section=n) for n, test in enumerate(by_test(read_scores(spec.rows, results))))
    records = _records(spec.table, scores)
    return Sheet(
        name=spec.name,
        title=spec.table.title or spec.name,
        heads=HEADS,
        records=records.assign(table=spec.name),
        cells=_cells(records),
        notes=(*_notes(scores, records), *_warnings(records)),
    )


def _records(table: Table, scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row per line and column, with the paper's number for it if there is one."""
    lines = scores.drop_duplicates(["section", "line"])[["section", *LINE]]
    values = scores[["section", "line", "score", *VALUE, "small"]]
    records = lines.merge(_columns(table, scores), how="cross").merge(values, how="left")
    records["line"] = records.groupby(["section", "line"], sort=False).ngroup()
    numbers = []
    for record in each(records):
        paper = table.published.get(record.task or "")
        number = paper and lookup(paper, record.degradation, record.condition, record.model, record.metric)
        numbers.append((number.text, number.table, number.certainty) if number else (None, None, None))
    names = ["published", "published_table", "published_certainty"]
    return records.join(pd.DataFrame(numbers, columns=names, dtype=object))


def _columns(table: Table, scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of each configured metric, in order; a metric without any has an empty column."""
    known = scores.drop_duplicates("score")[SCORE]
    columns = []
    for metric in table.columns:
        found = known[known.metric == metric]
        columns += found.to_dict("records") or [{"score": metric, "metric": metric, "name": metric}]
    return (
        pd.DataFrame(columns, columns=SCORE, dtype=object)
        .fillna({"better": "reference"})
        .assign(column=range(len(columns)))
    )


def _cells(records: pd.DataFrame) -> pd.DataFrame:
    """Return our scores, then those of the paper for the metrics of which it has any."""
    records = records.assign(
        title=[f"{r.title} ({r.dataset})" for r in each(records)],
        heads=pd.Series(map(_heads, each(records)), dtype=object),
        kind=records.baseline.map({True: "baseline", False: "trained"}),
        group="",
    )
    known = records.metric.isin(records.metric[records.published.notna()])
    paper = with_cells(records[known].drop_duplicates(["line", "metric"]), _paper_cell).assign(from_paper=True)
    ours = with_cells(records, _our_cell).assign(from_paper=False)
    for _, column in records.groupby(["section", "column"]):
        ours.loc[_best(column), "bold"] = True
    return pd.concat([ours, paper]).sort_values(["line", "from_paper", "column"])[CELLS]


def _our_cell(record: Any) -> dict[str, Any]:
    return printed(record) | {"heading": f"{record.name} {ARROWS[record.better]}".strip()}


def _paper_cell(record: Any) -> dict[str, Any]:
    label = f"paper’s {PUBLISHED.get(record.metric, record.metric)}"
    text = MISSING if pd.isna(record.published) else record.published
    return {"text": text, "heading": f"{label} {ARROWS[record.better]}".strip()}


def _heads(line: Any) -> tuple[str, ...]:
    return line.label, MISSING if line.nfe is None else str(line.nfe), str(len(line.rows)), f"{line.images:,}"


def _best(column: pd.DataFrame) -> list[Any]:
    """Return where a section has the best value of a column, as printed.

    Only trained models compete. `reference` columns are best closest to the originals.
    """
    digits, better = column.digits.iloc[0], column.better.iloc[0]
    rounded = column.value[column.value.map(isfinite)].map(lambda value: round(value, digits))
    models, originals = rounded[~column.baseline.astype(bool)], rounded[column.model == "originals"]
    if better == "reference" and not originals.empty:
        return best((models - originals.iloc[0]).abs().map(lambda distance: round(distance, digits)), "lower")
    return best(models, better)


def _notes(scores: pd.DataFrame, records: pd.DataFrame) -> Iterator[str]:
    """Yield the notes that a reader needs to interpret the numbers."""
    counts = " or ".join(map(str, sorted(set(scores.images))))
    yield f"{counts} test images a row. Best trained model in bold. ↓: lower is better; ↑: higher is better."
    if scores.low.notna().any():
        yield "In brackets: 95 % interval over the test images; it does not cover the chance of training."
    if scores.rows.map(len).max() > 1:
        yield "±: standard deviation over training seeds."
    if records.small.eq(True).any():
        yield "†: fewer images than this score can be trusted with."
    for record in each(records.dropna(subset="about").drop_duplicates("score")):
        yield f"{record.name}: {record.about}."


def _warnings(records: pd.DataFrame) -> Iterator[str]:
    """Yield what the scores must not be taken for."""
    if records[records.about.notna()].score.str.endswith("-photos").any():
        yield (
            "…-photos: measured with a small classifier trained on this dataset's own training images. "
            "These are not FID, IS, CA or PD of the literature and cannot be compared with them."
        )
    if records.published.notna().any():
        yield (
            "Paper: Saharia et al. 2022, ImageNet at 256 × 256 pixels, other networks behind the scores. "
            "Compare the order of the rows, not the values."
        )
