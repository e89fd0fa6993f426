"""A table of the config laid out as one of the paper: its rows and columns, with our numbers and differences below.

A *place* is a row of the paper, or one that we add. Our lines are put into their places; an empty cell states the
reason.
"""

from math import isfinite, nan
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from palette.data.tasks import title
from palette.model.facts import read_facts
from palette.publish.tables import paper_notes
from palette.publish.tables.paper_notes import (
    GROUPS,
    IMAGES,
    NO_PROTOCOL,
    NOT_MEASURED,
    NOT_RUN,
    ONE_SOURCE,
    RATERS,
    UNKNOWN,
)
from palette.publish.tables.published import METRICS, NAMES, PARAMETERS, of_table
from palette.publish.tables.scores import LINE, SCORE, VALUE, best, each, read_scores
from palette.publish.tables.sheet import ARROWS, CELLS, MISSING, Sheet, printed, with_cells
from palette.stages.rows import Row
from palette.stages.tabulate import TabulateSpec

CAPTIONS = {
    1: "Colorization of ImageNet",
    2: "Inpainting of ImageNet and Places2",
    3: "Uncropping of ImageNet and Places2",
    4: "JPEG restoration of ImageNet",
    5: "Architectures, inpainting of ImageNet",
    6: "L1 and L2 loss: quality and diversity",
    7: "One model for several tasks",
    8: "Colorization of ctest10k",
    9: "Inpainting of ImageNet and Places2, all masks",
    10: "Uncropping of the 50 largest categories of Places2",
    11: "Uncropping of the scenery of Places2",
}
PLACE = ["section", "place"]
"""Section: degradation and the paper's condition. Place: row of the paper, or our model."""
PEOPLE = "fool-rate"
"""The score that only human raters can give."""
HEADINGS = {
    "fid": ("FID", "lower"),
    "is": ("IS", "higher"),
    "ca": ("CA %", "higher"),
    "pd": ("PD", "lower"),
    PEOPLE: ("fool rate %", "higher"),
    "lpips-diversity": ("LPIPS between draws", "higher"),
    PARAMETERS: ("parameters, M", "reference"),
}
"""Column of the paper → our heading, and which direction is better."""
BY_TASK = (6,)
"""Tables with a group of columns for each task and no sections; the others have a group for each dataset."""
OTHER_NETWORKS = ("-photos", "-dinov2")
"""Suffixes of scores that are measured with networks other than the paper's."""


def build(spec: TabulateSpec, results: Path) -> Sheet:
    """Build a table that follows the paper, from the scores of its rows, whose folders are relative to `results`."""
    scores = by_column(_with_parameters(read_scores(spec.rows, results), results))
    assert spec.table.paper is not None
    records = _records(spec, scores, spec.table.paper)
    return Sheet(
        name=spec.name,
        title=spec.table.title or f"Table {spec.table.paper}. {CAPTIONS[spec.table.paper]}",
        heads=("model", "numbers"),
        records=_tidy(spec, records[records.column != IMAGES]),
        cells=_cells(records, spec.table.paper),
        notes=tuple(paper_notes.notes(spec, scores, records)),
    )


def _with_parameters(scores: pd.DataFrame, results: Path) -> pd.DataFrame:
    """Add the size of each line's network to its scores, if it has a network."""
    lines = scores.drop_duplicates("line")[LINE]
    about: dict[str, Any] = {"score": PARAMETERS, "metric": PARAMETERS, "about": "trained parameters in millions"}
    about |= {"name": "parameters, M", "better": "reference", "digits": 0, "small": False}
    sizes = lines.assign(**about, value=[_millions(rows, results) for rows in lines.rows])
    return pd.concat([scores, sizes.dropna(subset="value")])


def _millions(rows: tuple[Row, ...], results: Path) -> float:
    files = [results / row.train / "model.json" for row in rows if row.train]
    if not files or not all(file.exists() for file in files):
        return nan
    return fmean(read_facts(file).parameters for file in files) / 1e6


def by_column(scores: pd.DataFrame) -> pd.DataFrame:
    """Add to each score its column in the paper's tables, and whether another network than the paper's measured it.

    In each line, the scores by the paper's networks come first, then the order of the extractors holds.
    """
    columns = scores.metric.map(lambda metric: NAMES.get(metric, metric))
    other = scores.score.map(lambda key: str(key).endswith(OTHER_NETWORKS)).astype(bool)
    return scores.assign(column=columns, other_network=other).sort_values(["line", "other_network"], kind="stable")


def _records(spec: TabulateSpec, scores: pd.DataFrame, paper: int) -> pd.DataFrame:
    """Return one row per place, line of ours in it (`slot`) and column, in the order of the table."""
    numbers = _numbers(paper)
    quoted = numbers[numbers.kind == "prior"][PLACE].drop_duplicates().assign(quoted=True)
    ours = _placed(spec, scores, numbers, paper).merge(quoted, how="left")
    ours = ours[ours.quoted.isna()].drop(columns="quoted")
    shown = scores.drop_duplicates(["line", "column"])
    records = (
        _slots(numbers, ours)
        .merge(quoted, how="left")
        .merge(_columns(numbers), how="cross")
        .merge(ours.drop(columns="labels"), how="left")
        .merge(numbers.drop(columns="kind"), how="left")
        .merge(scores.drop_duplicates("line")[LINE], how="left", on="line")
        .merge(shown[["line", "column", "other_network", *SCORE, *VALUE, "small"]], how="left", on=["line", "column"])
    )
    tested = [name for name, dataset in spec.datasets.items() if dataset.published]
    comparable = records.dataset.isin(tested) & records.other_network.eq(False) & records.value.map(isfinite)
    records["difference"] = (records.value - records.published_value).where(comparable)
    records["relative_difference"] = records.difference / records.published_value.where(records.published_value != 0)
    records["quoted"] = records.quoted.eq(True)
    records["status"] = [_status(record, paper) for record in each(records)]
    return records


def _numbers(paper: int) -> pd.DataFrame:
    """Return the paper's numbers with the section, place, group and column that each belongs to."""
    numbers = pd.DataFrame(of_table(paper), dtype=object).astype({"value": float})
    by_task = paper in BY_TASK
    numbers["section"] = [("", "") if by_task else (number.task, number.condition) for number in each(numbers)]
    numbers["group"] = numbers.task if by_task else numbers.dataset
    names = {"model": "place", "metric": "column", "text": "published", "value": "published_value"}
    numbers = numbers.rename(columns={**names, "certainty": "published_certainty"})
    return numbers[[*PLACE, "group", "kind", "column", "published", "published_value", "published_certainty"]]


def _placed(spec: TabulateSpec, scores: pd.DataFrame, numbers: pd.DataFrame, paper: int) -> pd.DataFrame:
    """Return the place of each of our lines in each group of columns that it fills.

    slot: its number among our lines there. The originals, which have no task, fill the columns of each task.
    """
    placed = []
    for line in each(scores.drop_duplicates("line")):
        place, groups = spec.table.models.get(line.model, line.model), list(numbers.group.unique())
        if paper not in BY_TASK:
            groups = [spec.datasets[line.dataset].published or groups[0]]
        elif line.degradation:
            groups = [line.degradation]
        placed += [(_section(line, numbers, paper), place, group, line.line, line.label) for group in groups]
    ours = pd.DataFrame(placed, columns=[*PLACE, "group", "line", "labels"], dtype=object)
    ours["slot"] = ours.groupby([*PLACE, "group"]).cumcount()
    labels = ours.groupby([*PLACE, "slot"]).labels
    return ours.assign(labels=labels.transform(lambda found: "; ".join(dict.fromkeys(found))))


def _section(line: Any, numbers: pd.DataFrame, paper: int) -> tuple[str, str]:
    """Return the section that a line belongs to; a new one if the paper has none."""
    if paper in BY_TASK:
        return "", ""
    originals, own = line.model == "originals", (line.degradation or "", line.condition or "")
    known = numbers[(numbers.kind == "originals") == originals].section
    fits = (key for key in known if originals or (key[0] == own[0] and key[1] in (own[1], "unknown")))
    return next(fits, own)


def _slots(numbers: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    """Return each place once for each of our lines in it, at least once.

    They are in the paper's order, then come our additional ones, and the originals last.
    """
    places = pd.concat([numbers[PLACE], ours[PLACE]]).drop_duplicates()
    originals = {section: set(found.place) == {"originals"} for section, found in places.groupby("section", sort=False)}
    order = sorted(originals, key=originals.__getitem__)
    slots = pd.concat([places.assign(slot=0), ours[[*PLACE, "slot"]]]).drop_duplicates()
    places = places.assign(number=places.section.map(order.index), rank=range(len(places)))
    slots = slots.merge(places).sort_values(["number", "rank", "slot"])
    return slots[[*PLACE, "slot"]].merge(ours[[*PLACE, "slot", "labels"]].drop_duplicates(), how="left")


def _columns(numbers: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's columns by group, with the images at the end of each group."""
    columns = []
    for group, found in numbers.groupby("group", sort=False):
        columns += [(group, metric) for metric in METRICS if metric in set(found.column)] + [(group, IMAGES)]
    return pd.DataFrame(columns, columns=["group", "column"], dtype=object)


def _status(record: Any, paper: int) -> str:
    """Return what a cell lacks, in one or two words; empty if both numbers exist."""
    if record.quoted or pd.notna(record.score):
        published = "quoted" if record.quoted else ""
        return published if pd.notna(record.published) else "not published"
    if record.column == PEOPLE:
        return RATERS
    if pd.isna(record.line):
        return NO_PROTOCOL if paper in UNKNOWN else NOT_RUN
    return NOT_MEASURED


def _tidy(spec: TabulateSpec, records: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the CSV. Places without a line of ours have the task and condition of their section."""
    ours = records.line.notna()
    return records.assign(
        table=spec.name,
        task=records.task.where(ours, records.section.str[0]),
        condition=records.condition.where(ours, records.section.str[1]),
        score=records.score.where(records.score.notna(), records.column),
        better=[HEADINGS[column][1] for column in records.column],
        published_table=spec.table.paper,
        published_model=records.place,
        published_dataset=records.group,
    )


def _cells(records: pd.DataFrame, paper: int) -> pd.DataFrame:
    """Return the printed lines: the paper's numbers of each place, then our lines there with their differences."""
    records = _with_headings_and_best(records)
    records["place_line"] = records.groupby([*PLACE, "slot"], sort=False).ngroup()
    lines = records.groupby("place_line")
    records["title"] = [_title(section, paper) for section in records.section]
    records["group"] = records.group.map(GROUPS)
    parts = [
        (records.slot.eq(0) & lines.published.transform("count").gt(0), _paper_cell),
        (~records.quoted, _our_cell),
        (lines.difference.transform("count").gt(0), _difference_cell),
    ]
    cells = []
    for rank, (chosen, cell) in enumerate(parts):
        cells.append(with_cells(records[chosen], cell).assign(rank=rank))
    table = pd.concat(cells).sort_values(["place_line", "rank"], kind="stable")
    table["line"] = table.groupby(["place_line", "rank"]).ngroup()
    return table[CELLS]


def _with_headings_and_best(records: pd.DataFrame) -> pd.DataFrame:
    """Add the heading of each column, and in each section the best number of the paper and of our trained models."""
    records = records.assign(heading="", from_paper=False, bold_paper=False, bold_ours=False)
    theirs = records.published_value[(records.slot == 0) & (records.place != "originals")]
    trained = records[records.baseline.eq(False) & records.value.map(isfinite)]
    ours = pd.Series([round(r.value, r.digits) for r in each(trained)], trained.index, float)
    for (_, column), cells in records[["group", "column", "section", "name"]].groupby(["group", "column"]):
        label, better = HEADINGS.get(str(column), (str(column), "reference"))
        others = ", ".join(name for name in cells.name.dropna().unique() if name != label)
        heading = f"{label} {ARROWS[better]}".strip() + (f" (ours: {others})" if others else "")
        records.loc[cells.index, "heading"] = heading
        for _, section in cells.groupby("section"):
            records.loc[best(theirs.reindex(section.index), better), "bold_paper"] = True
            records.loc[best(ours.reindex(section.index), better), "bold_ours"] = True
    return records


def _title(section: tuple[str, str], paper: int) -> str:
    """Return the title of a section; none where tasks are groups of columns."""
    if paper in BY_TASK:
        return ""
    degradation, condition = section
    return title("" if condition == "*" else degradation, condition).replace("unknown", "not stated")


def _name(record: Any) -> str:
    """Return the name of a place: `Palette, L1`; other methods keep their own spelling."""
    if record.place == "originals":
        return "original images"
    return str(record.place if record.quoted else record.place[:1].upper() + record.place[1:])


def _paper_cell(record: Any) -> dict[str, Any]:
    kind = "quoted" if record.quoted else "paper"
    head = {"kind": kind, "heads": (_name(record), kind)}
    if pd.isna(record.published):
        return head | {"text": "" if record.column == IMAGES else MISSING, "missing": True}
    mark = ONE_SOURCE if record.published_certainty == "one source" else ""
    return head | {"text": record.published, "mark": mark, "bold": record.bold_paper}


def _our_cell(record: Any) -> dict[str, Any]:
    head = {"kind": "ours", "heads": (_name(record) if pd.isna(record.labels) else record.labels, "ours")}
    if record.column == IMAGES and pd.isna(record.line):
        return head | {"missing": True}
    if record.column == IMAGES:
        seeds = f"({len(record.rows)} seed{'s' if len(record.rows) > 1 else ''})"
        return head | {"text": f"{record.images:,}", "detail": "" if record.baseline else seeds}
    if pd.isna(record.score):
        return head | {"text": record.status, "missing": True}
    return head | printed(record) | {"bold": record.bold_ours, "experiment": record.experiment}


def _difference_cell(record: Any) -> dict[str, Any]:
    head = {"kind": "difference", "heads": ("", "difference")}
    if pd.isna(record.difference):
        return head | {"text": "" if record.column == IMAGES else MISSING, "missing": True}
    share = f"({100 * record.difference / record.published_value:+.0f} %)" if record.published_value else ""
    text = f"{record.difference:+.{record.digits}f}"
    return head | {"text": text.replace("-", "−"), "detail": share.replace("-", "−")}
