"""A table of the config laid out as one of the paper: its rows and columns, with our numbers and differences below."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TypeVar

from palette.model.facts import read_facts
from palette.publish.tables.config_table import printed, record_of
from palette.publish.tables.paper_layout import (
    BY_TASK,
    GROUPS,
    IMAGES,
    ONE_SOURCE,
    Column,
    Layout,
    Place,
    SectionKey,
    cells,
    difference,
    shown,
    status,
    why_missing,
)
from palette.publish.tables.paper_notes import notes
from palette.publish.tables.published import PARAMETERS
from palette.publish.tables.results import Block, Cell, Line, ScoreInfo, read_lines
from palette.publish.tables.sheet import ARROWS, MISSING, Entry, Heading, Kind, Section, Sheet, SheetLine, percent
from palette.stages.tabulate import TabulateSpec

T = TypeVar("T")

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
HEADINGS = {
    "fid": ("FID", "lower"),
    "is": ("IS", "higher"),
    "ca": ("CA %", "higher"),
    "pd": ("PD", "lower"),
    "fool-rate": ("fool rate %", "higher"),
    "lpips-diversity": ("LPIPS between draws", "higher"),
    PARAMETERS: ("parameters, M", "reference"),
}
"""Column of the paper → our heading, and which direction is better."""


def build(spec: TabulateSpec, results: Path) -> Sheet:
    """Build the sheet of a table that follows the paper. results: the folder that the rows' folders are relative to."""
    lines = [_with_parameters(line, results) for line in read_lines(spec.rows, results)]
    layout = Layout(spec, lines)
    title = spec.table.title or f"Table {layout.paper}. {CAPTIONS[layout.paper]}"
    return Sheet(
        name=spec.name,
        title=title,
        heads=("model", "numbers"),
        columns=tuple(Heading(_heading(layout, column), GROUPS[column.group]) for column in layout.columns),
        sections=tuple(_printed(layout, key, places) for key, places in layout.sections.items()),
        notes=tuple(notes(layout)),
        records=tuple(_record(layout, *cell) for cell in cells(layout)),
    )


def _with_parameters(line: Line, results: Path) -> Line:
    """Return the line with the size of its network added to the scores, if it has a network."""
    files = [results / row.train / "model.json" for row in line.rows if row.train]
    if not all(file.exists() for file in files) or not files:
        return line
    millions = fmean(read_facts(file).parameters for file in files) / 1e6
    info = ScoreInfo(PARAMETERS, PARAMETERS, "parameters, M", "reference", 0, "trained parameters in millions")
    cells = {**line.cells, PARAMETERS: Cell(millions)}
    return replace(line, cells=cells, infos={**line.infos, PARAMETERS: info})


# -------------------------------------------------------------------------------------------------- printing


def _heading(layout: Layout, column: Column) -> str:
    """Return the heading of a column: `CA % ↑ (ours: CA-ResNet-50 %)`."""
    if column.metric == IMAGES:
        return IMAGES
    label, better = HEADINGS[column.metric]
    lines = [ours[column.group] for p in layout.places.values() for ours in p.ours if column.group in ours]
    labels = dict.fromkeys(line.infos[key].label for line in lines if (key := shown(line, column)))
    others = [other for other in labels if other != label]
    return f"{label} {ARROWS[better]}".strip() + (f" (ours: {', '.join(others)})" if others else "")


def _printed(layout: Layout, key: SectionKey, places: Sequence[Place]) -> Section:
    best = {column: (_best_of_paper(places, column), _best_of_ours(places, column)) for column in layout.columns}
    lines: list[SheetLine] = []
    for place in places:
        if place.numbers:
            lines.append(_paper_line(layout, place, {c: place.model in best[c][0] for c in layout.columns}))
        if place.quoted:
            continue
        for ours in place.ours or [{}]:
            lines.append(_our_line(layout, place, ours, {c: best[c][1] for c in layout.columns}))
            lines += _difference_line(layout, place, ours)
    return Section(_title(layout, key), tuple(lines))


def _title(layout: Layout, key: SectionKey) -> str:
    task, condition = key
    if layout.paper in BY_TASK:
        return ""
    if not task or condition == "*":
        return Block("", None, None, None, ()).title
    return Block("", None, task, condition, ()).title.replace("unknown", "not stated")


def _name(place: Place) -> str:
    """Return the name of a place: `Palette, L1`; other methods keep their own spelling."""
    if place.model == "originals":
        return "original images"
    return place.model if place.quoted else place.model[:1].upper() + place.model[1:]


def _paper_line(layout: Layout, place: Place, bold: Mapping[Column, bool]) -> SheetLine:
    def entry(column: Column) -> Entry:
        number = place.numbers.get(column)
        if number is None:
            return Entry("" if column.metric == IMAGES else MISSING, missing=True)
        return Entry(number.text, mark=ONE_SOURCE if number.certainty == "one source" else "", bold=bold[column])

    kind: Kind = "quoted" if place.quoted else "paper"
    return SheetLine((_name(place), kind), tuple(map(entry, layout.columns)), kind)


def _our_line(
    layout: Layout, place: Place, ours: Mapping[str, Line], best: Mapping[Column, Sequence[Line]]
) -> SheetLine:
    entries = (_our_entry(layout, ours.get(c.group), c, bold=ours.get(c.group) in best[c]) for c in layout.columns)
    labels = dict.fromkeys(line.label for line in ours.values())
    return SheetLine(("; ".join(labels) or _name(place), "ours"), tuple(entries), "ours")


def _our_entry(layout: Layout, line: Line | None, column: Column, bold: bool) -> Entry:
    if line is not None and column.metric == IMAGES:
        count = len(line.rows)
        return Entry(f"{line.images:,}", f"({count} seed{'s' if count > 1 else ''})" if not line.baseline else "")
    key = shown(line, column)
    if line is None or key is None:
        return Entry("" if column.metric == IMAGES else why_missing(layout, line, column), missing=True)
    entry = printed(line.cells[key], line.infos[key].digits, bold)
    return replace(entry, experiment=line.row.experiment)


def _difference_line(layout: Layout, place: Place, ours: Mapping[str, Line]) -> list[SheetLine]:
    """Return the line with the differences; none if there are no differences."""
    entries = [_difference_entry(layout, place, ours.get(c.group), c) for c in layout.columns]
    if all(entry.missing for entry in entries):
        return []
    return [SheetLine(("", "difference"), tuple(entries), "difference")]


def _difference_entry(layout: Layout, place: Place, line: Line | None, column: Column) -> Entry:
    apart, key = difference(layout, place, line, column), shown(line, column)
    if apart is None or key is None or line is None:
        return Entry("" if column.metric == IMAGES else MISSING, missing=True)
    text = f"{apart:+.{line.infos[key].digits}f}".replace("-", "−")
    return Entry(text, percent(apart, place.numbers[column].value))


def _best_of_paper(places: Sequence[Place], column: Column) -> list[str]:
    """Return the models with the paper's best number in a column, if it has at least two."""
    found = {p.model: p.numbers[column].value for p in places if column in p.numbers and p.model != "originals"}
    return _best(found, column)


def _best_of_ours(places: Sequence[Place], column: Column) -> list[Line]:
    """Return our lines with the best number in a column, as printed, if there are at least two trained models."""
    lines = [ours[column.group] for p in places for ours in p.ours if column.group in ours]
    values: dict[int, float] = {}
    for index, line in enumerate(lines):
        if (key := shown(line, column)) and not line.baseline and (value := line.cells[key].value) is not None:
            values[index] = round(value, line.infos[key].digits)
    return [lines[index] for index in _best(values, column)]


def _best(values: Mapping[T, float], column: Column) -> list[T]:
    better = HEADINGS[column.metric][1] if column.metric != IMAGES else "reference"
    if len(values) < 2 or better == "reference":
        return []
    top = min(values.values()) if better == "lower" else max(values.values())
    return [name for name, value in values.items() if value == top]


# -------------------------------------------------------------------------------------------------- records


def _record(layout: Layout, place: Place, line: Line | None, column: Column) -> dict[str, object]:
    number, key, apart = place.numbers.get(column), shown(line, column), difference(layout, place, line, column)
    task, condition = place.section
    record: dict[str, object] = {
        "table": layout.spec.name,
        "task": task,
        "condition": condition,
        "score": column.metric,
    }
    record |= {"published_model": place.model, "published_dataset": column.group, "published_table": layout.paper}
    record |= {"better": HEADINGS[column.metric][1], "quoted": str(place.quoted).lower()}
    if line is not None:
        row = line.row
        record |= record_of(line, key or "") | {"dataset": row.dataset, "task": row.task, "condition": row.condition}
        record |= {"score": key or column.metric}
    if number is not None:
        record |= {"published": number.text, "published_certainty": number.certainty}
        if apart is not None:
            relative = apart / number.value if number.value else None
            record |= {"difference": apart, "relative_difference": relative}
    return record | {"status": status(layout, place, line, column)}
