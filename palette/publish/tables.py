"""A table of the config as a grid of texts, with what is best marked; see `formats.py` for how it is written."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from palette.config import Table
from palette.publish.lines import Block, Cell, Line, ScoreInfo, blocks
from palette.publish.published import Number, lookup
from palette.spec import Row

MISSING, INFINITE = "—", "∞"
ARROWS = {"lower": "↓", "higher": "↑", "reference": ""}
PUBLISHED = {"fd": "FID", "kid": "KID", "is": "IS", "ca": "CA %", "pd": "PD"}
"""The paper's heading of a column."""


@dataclass(frozen=True)
class Column:
    """A score (`key`), or what the paper published for it (`published`)."""

    metric: str
    key: str
    label: str
    better: str
    digits: int = 2
    published: bool = False


@dataclass(frozen=True)
class Entry:
    """A cell as it is printed."""

    text: str
    detail: str = ""
    """Interval or deviation, printed smaller where that can be."""
    mark: str = ""
    bold: bool = False


@dataclass(frozen=True)
class GridLine:
    """A line as it is printed, beside the line that it prints."""

    label: str
    evaluations: str
    seeds: str
    entries: tuple[Entry, ...]
    line: Line
    numbers: dict[str, Number]
    """Metric → what the paper published for this row."""


@dataclass(frozen=True)
class Grid:
    """A whole table."""

    name: str
    title: str
    columns: tuple[Column, ...]
    blocks: tuple[tuple[Block, tuple[GridLine, ...]], ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def headings(self) -> tuple[str, ...]:
        """Of the columns with scores: `FD-photos ↓`."""
        return tuple(f"{c.label} {ARROWS[c.better]}".strip() for c in self.columns)


def build(name: str, table: Table, rows: tuple[Row, ...], results: Path) -> Grid:
    """The grid of a table of the config, from the scores of its rows. results: the folder that the rows' folders are relative to."""
    chosen = [row for row in rows if any(fnmatchcase(row.experiment, pattern) for pattern in table.experiments)]
    made = blocks(chosen, results)
    columns = _columns(table, made)
    grid_blocks = tuple(
        (block, tuple(_grid_line(line, block, table, columns) for line in block.lines)) for block in made
    )
    return Grid(name, table.title or name, columns, grid_blocks, tuple(_notes(made, columns)))


def _columns(table: Table, made: list[Block]) -> tuple[Column, ...]:
    """The scores of each configured metric, in order; then the paper's numbers, where it has any for these rows."""
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
    """Metric → the paper's number for this line."""
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
            entries.append(Entry(f"{numbers[column.metric].value:g}" if column.metric in numbers else MISSING))
        else:
            entries.append(_entry(line.cells.get(column.key), column, line in best(block, column)))
    evaluations = MISSING if line.row.evaluations is None else str(line.row.evaluations)
    return GridLine(line.label, evaluations, str(len(line.rows)), tuple(entries), line, numbers)


def _entry(cell: Cell | None, column: Column, bold: bool) -> Entry:
    if cell is None:
        return Entry(MISSING)
    mark = "†" if cell.small else ""
    if cell.value is None:
        return Entry(INFINITE, mark=mark)
    return Entry(_text(cell.value, column), _detail(cell, column), mark, bold)


def _text(value: float, column: Column) -> str:
    return f"{value:.{column.digits}f}"


def _detail(cell: Cell, column: Column) -> str:
    if cell.deviation is not None:
        return f"± {_text(cell.deviation, column)}"
    if cell.low is None or cell.high is None:
        return ""
    return f"[{_text(cell.low, column)}, {_text(cell.high, column)}]"


def best(block: Block, column: Column) -> list[Line]:
    """The lines of a block with the best value of a column, as far as it is printed.

    Only trained models compete, and only if there are two of them. `reference` columns are best closest to the originals.
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
    """From the ideal, up to a constant: the smaller the better. Empty if no direction is known."""
    if column.better != "reference":
        sign = -1 if column.better == "higher" else 1
        return {index: sign * value for index, value in values.items()}
    target = block.originals.cells.get(column.key) if block.originals else None
    if target is None or target.value is None:
        return {}
    ideal = float(_text(target.value, column))
    return {index: round(abs(value - ideal), column.digits) for index, value in values.items()}


def _notes(made: list[Block], columns: tuple[Column, ...]) -> list[str]:
    """What a reader must know to read the numbers right."""
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
