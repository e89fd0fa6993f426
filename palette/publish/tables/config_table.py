"""A table of the config as a grid of texts, with the best values marked.

Tables that follow the paper are made in `paper_table.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from palette.config.scores import Table
from palette.publish.tables.published import Number, lookup
from palette.publish.tables.results import Block, Cell, Line, ScoreInfo, blocks
from palette.publish.tables.sheet import ARROWS, INFINITE, MISSING, Entry, Heading, Section, Sheet, SheetLine
from palette.stages.tabulate import TabulateSpec

HEADS = ("model", "NFE", "seeds", "images")
PUBLISHED = {"fd": "FID", "kid": "KID", "is": "IS", "ca": "CA %", "pd": "PD"}
"""The paper's column headings."""


@dataclass(frozen=True)
class Column:
    """A score (`key`), or the paper's value for it (`published`)."""

    metric: str
    key: str
    label: str
    better: str
    digits: int = 2
    published: bool = False


@dataclass(frozen=True)
class GridLine:
    """A line as printed, with the line of results behind it."""

    label: str
    evaluations: str
    seeds: str
    entries: tuple[Entry, ...]
    line: Line
    numbers: dict[str, Number]
    """Metric → the paper's value for this row."""

    @property
    def printed(self) -> SheetLine:
        heads = (self.label, self.evaluations, self.seeds, f"{self.line.images:,}")
        return SheetLine(heads, self.entries, "baseline" if self.line.baseline else "trained")


@dataclass(frozen=True)
class Grid:
    """A complete table."""

    name: str
    title: str
    columns: tuple[Column, ...]
    blocks: tuple[tuple[Block, tuple[GridLine, ...]], ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def headings(self) -> tuple[str, ...]:
        """Headings of the columns with scores: `FD-photos ↓`."""
        return tuple(f"{c.label} {ARROWS[c.better]}".strip() for c in self.columns)

    @property
    def sheet(self) -> Sheet:
        """The table as written to files."""
        headings = zip(self.headings, self.columns, strict=True)
        sections = [
            Section(f"{block.title} ({block.dataset})", tuple(line.printed for line in lines))
            for block, lines in self.blocks
        ]
        return Sheet(
            name=self.name,
            title=self.title,
            heads=HEADS,
            columns=tuple(Heading(label, published=column.published) for label, column in headings),
            sections=tuple(sections),
            notes=self.notes,
            records=tuple(self._records()),
        )

    def _records(self) -> Iterator[dict[str, object]]:
        for block, lines in self.blocks:
            head = {"table": self.name, "dataset": block.dataset, "task": block.task, "condition": block.condition}
            for line in lines:
                yield from (head | _record(line, column) for column in self.columns if not column.published)


def _record(line: GridLine, column: Column) -> dict[str, object]:
    number = line.numbers.get(column.metric)
    record: dict[str, object] = record_of(line.line, column.key) | {"score": column.key, "better": column.better}
    if number is not None:
        record |= {"published": number.text, "published_table": number.table, "published_certainty": number.certainty}
    return record


def record_of(line: Line, key: str) -> dict[str, object]:
    """Return the record of a line and of its score `key`, if it has one, with the names in `formats.FIELDS`."""
    row, cell = line.row, line.cells.get(key)
    record: dict[str, object] = {"model": row.model, "sampler": row.sampler, "nfe": row.evaluations, "steps": row.steps}
    record |= {"seeds": " ".join(str(r.seed) for r in line.rows), "images": line.images}
    record["scores"] = " ".join(r.score for r in line.rows)
    if cell is not None:
        record |= {"value": "inf" if cell.value is None else cell.value, "low": cell.low, "high": cell.high}
        record |= {"deviation": cell.deviation, "small": str(cell.small).lower()}
    return record


def build(spec: TabulateSpec, results: Path) -> Grid:
    """Build the grid of a table of the config from the scores of its rows.

    results: the folder that the rows' folders are relative to.
    """
    table, made = spec.table, blocks(spec.rows, results)
    columns = _columns(table, made)
    grid_blocks = tuple(
        (block, tuple(_grid_line(line, block, table, columns) for line in block.lines)) for block in made
    )
    return Grid(spec.name, table.title or spec.name, columns, grid_blocks, tuple(_notes(made, columns)))


def _columns(table: Table, made: list[Block]) -> tuple[Column, ...]:
    """Return the scores of each configured metric, in order, then the paper's values if it has any for these rows."""
    infos = {key: info for block in made for line in block.lines for key, info in line.infos.items()}
    columns = []
    for metric in table.columns:
        found = [info for info in infos.values() if info.metric == metric]
        columns += [Column(metric, i.key, i.label, i.better, i.digits) for i in found] or [
            Column(metric, metric, metric, "reference")
        ]
    known = {m for block in made for line in block.lines for m in _numbers(line, block, table)}
    return (*columns, *(_published_column(m, infos) for m in table.columns if m in known))


def _published_column(metric: str, infos: dict[str, ScoreInfo]) -> Column:
    better = next((i.better for i in infos.values() if i.metric == metric), "reference")
    return Column(metric, metric, f"paper’s {PUBLISHED.get(metric, metric)}", better, published=True)


def _numbers(line: Line, block: Block, table: Table) -> dict[str, Number]:
    """Return metric → the paper's value for this line."""
    paper = table.published.get(block.task or "")
    if paper is None or block.degradation is None:
        return {}
    found = {m: lookup(paper, block.degradation, block.condition, line.row.model, m) for m in table.columns}
    return {m: number for m, number in found.items() if number is not None}


def _grid_line(line: Line, block: Block, table: Table, columns: tuple[Column, ...]) -> GridLine:
    numbers = _numbers(line, block, table)
    entries = []
    for column in columns:
        if column.published:
            entries.append(Entry(numbers[column.metric].text if column.metric in numbers else MISSING))
        else:
            entries.append(printed(line.cells.get(column.key), column.digits, line in best(block, column)))
    evaluations = MISSING if line.row.evaluations is None else str(line.row.evaluations)
    return GridLine(line.label, evaluations, str(len(line.rows)), tuple(entries), line, numbers)


def printed(cell: Cell | None, digits: int, bold: bool) -> Entry:
    """Format a score as a cell; a missing one is a dash."""
    if cell is None:
        return Entry(MISSING, missing=True)
    mark = "†" if cell.small else ""
    if cell.value is None:
        return Entry(INFINITE, mark=mark)
    return Entry(f"{cell.value:.{digits}f}", _detail(cell, digits), mark, bold)


def _detail(cell: Cell, digits: int) -> str:
    if cell.deviation is not None:
        return f"± {cell.deviation:.{digits}f}"
    if cell.low is None or cell.high is None:
        return ""
    return f"[{cell.low:.{digits}f}, {cell.high:.{digits}f}]"


def _text(value: float, column: Column) -> str:
    return f"{value:.{column.digits}f}"


def best(block: Block, column: Column) -> list[Line]:
    """Return the lines of a block with the best value of a column, as printed.

    Only trained models compete, and only if there are at least two of them. `reference` columns are best closest to the
    originals.
    """
    values = {}
    for index, line in enumerate(block.lines):
        cell = line.cells.get(column.key)
        if not line.baseline and cell is not None and cell.value is not None:
            values[index] = float(_text(cell.value, column))
    distances = _distances(values, block, column)
    if len(distances) < 2:
        return []
    return [block.lines[index] for index, distance in distances.items() if distance == min(distances.values())]


def _distances(values: dict[int, float], block: Block, column: Column) -> dict[int, float]:
    """Return distances from the ideal, up to a constant: smaller is better. Empty if no direction is known."""
    if column.better != "reference":
        sign = -1 if column.better == "higher" else 1
        return {index: sign * value for index, value in values.items()}
    target = block.originals.cells.get(column.key) if block.originals else None
    if target is None or target.value is None:
        return {}
    ideal = float(_text(target.value, column))
    return {index: round(abs(value - ideal), column.digits) for index, value in values.items()}


def _notes(made: list[Block], columns: tuple[Column, ...]) -> list[str]:
    """Return the notes that a reader needs to interpret the numbers."""
    lines = [line for block in made for line in block.lines]
    infos = {info.key: info for line in lines for info in line.infos.values()}
    shown = [infos[column.key] for column in columns if not column.published and column.key in infos]
    counts = sorted({line.images for line in lines})
    notes = [
        f"{' or '.join(map(str, counts))} test images a row. Best trained model in bold. ↓: lower is better; ↑: higher is better."
    ]
    if any(cell.low is not None for line in lines for cell in line.cells.values()):
        notes.append("In brackets: 95 % interval over the test images; it does not cover the chance of training.")
    if any(len(line.rows) > 1 for line in lines):
        notes.append("±: standard deviation over training seeds.")
    if any(line.cells[i.key].small for line in lines for i in shown if i.key in line.cells):
        notes.append("†: fewer images than this score can be trusted with.")
    notes += [f"{info.label}: {info.about}." for info in shown]
    return notes + _honesty(shown, columns)


def _honesty(shown: list[ScoreInfo], columns: tuple[Column, ...]) -> list[str]:
    notes = []
    if any(info.key.endswith("-photos") for info in shown):
        notes.append(
            "…-photos: measured with a small classifier trained on this dataset's own training images. "
            "These are not FID, IS, CA or PD of the literature and cannot be compared with them."
        )
    if any(column.published for column in columns):
        notes.append(
            "Paper: Saharia et al. 2022, ImageNet at 256 × 256 pixels, other networks behind the scores. "
            "Compare the order of the rows, not the values."
        )
    return notes
