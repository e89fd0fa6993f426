"""Scores as lines of a table.

Rows that differ only in their seed become one line, and lines of one test become one block.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

from palette.config.sampling import BASELINES
from palette.data.tasks import title
from palette.errors import DataError
from palette.stages.rows import Row
from palette.system.files import read_json

Better = Literal["lower", "higher", "reference"]

LABELS = {"input": "degraded input", "originals": "original images"}


@dataclass(frozen=True)
class Cell:
    """A score of a line. `value` None is infinite: the PSNR of equal images."""

    value: float | None
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    """Standard deviation over seeds; None for one seed."""
    small: bool = False
    """True if there are too few images for a reliable score."""


@dataclass(frozen=True)
class ScoreInfo:
    """Name and display of a score, from `scores.json`."""

    key: str
    """`fd-photos`"""
    metric: str
    """Column of a table: `fd`."""
    label: str
    better: Better
    digits: int
    about: str


@dataclass(frozen=True)
class Line:
    """One or several experiments that differ only in their seed."""

    rows: tuple[Row, ...]
    images: int
    cells: dict[str, Cell]
    """By key, such as `fd-photos`."""
    infos: dict[str, ScoreInfo]

    @property
    def row(self) -> Row:
        return self.rows[0]

    @property
    def baseline(self) -> bool:
        """True if nothing was trained for it: the input, the originals."""
        return self.row.model in BASELINES

    @property
    def originals(self) -> bool:
        """True for the unmodified test images."""
        return self.row.model == "originals"

    @property
    def label(self) -> str:
        """Label of the line: `palette, dpm20`."""
        return ", ".join(
            filter(None, [LABELS.get(self.row.model, self.row.model), self.row.sampler, self.row.milestone])
        )


@dataclass(frozen=True)
class Block:
    """The lines of one test: dataset, task and condition."""

    dataset: str
    task: str | None
    degradation: str | None
    condition: str | None
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """Title of the block: `Inpainting, mask centre`."""
        return title(self.degradation, self.condition)

    @property
    def originals(self) -> Line | None:
        return next((line for line in self.lines if line.row.model == "originals"), None)


def blocks(rows: Iterable[Row], results: Path) -> list[Block]:
    """Return all lines of `rows` by dataset, task and condition, in the order of the rows.

    In each block the input comes first and the originals last. The originals belong to every block of their dataset.
    Raises DataError if scores of a dataset were made under different protocols.
    """
    lines = read_lines(rows, results)
    originals = [line for line in lines if line.row.model == "originals"]
    tested = [line for line in lines if line.row.model != "originals"]
    keys = dict.fromkeys(
        (r.dataset, r.task, r.degradation, r.condition) for r in (line.row for line in tested or originals)
    )
    made = []
    for key in keys:
        own = [
            line
            for line in tested
            if (line.row.dataset, line.row.task, line.row.degradation, line.row.condition) == key
        ]
        own.sort(key=lambda line: line.row.model != "input")
        made.append(Block(*key, lines=(*own, *(line for line in originals if line.row.dataset == key[0]))))
    return made


def read_lines(rows: Iterable[Row], results: Path) -> list[Line]:
    """Return the scores of `rows`; those that differ only in their seed are one line.

    Raises DataError as `blocks` does.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        same = (row.dataset, row.task, row.condition, row.model, row.sampler, row.steps)
        groups.setdefault(same, []).append(row)
    protocols: dict[str, Any] = {}
    return [_line(tuple(group), results, protocols) for group in groups.values()]


def _line(rows: tuple[Row, ...], results: Path, protocols: dict[str, Any]) -> Line:
    files = [results / row.score / "scores.json" for row in rows]
    read = [read_json(file) for file in files]
    for file, content in zip(files, read, strict=True):
        _check_protocol(file, content["protocol"], protocols.setdefault(rows[0].dataset, content["protocol"]))
    keys = [key for key in read[0]["scores"] if all(key in content["scores"] for content in read)]
    cells = {key: _cell([content["scores"][key] for content in read]) for key in keys}
    return Line(rows, read[0]["images"], cells, {key: _info(key, read[0]["scores"][key]) for key in keys})


def _check_protocol(file: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise DataError if the protocols differ: numbers of different protocols do not belong in one table."""
    unlike = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if unlike:
        parts = "; ".join(f"{name} {found.get(name)} here, {expected.get(name)} elsewhere" for name in unlike)
        raise DataError(
            f"{file}: scored by another protocol than other rows of its dataset ({parts}), so that they must not be compared. "
            f"Delete {file.parent} and run `snakemake` again."
        )


def _cell(entries: list[dict[str, Any]]) -> Cell:
    """Return the value and interval of one seed, or the mean and standard deviation of several."""
    small = any(entry.get("small", False) for entry in entries)
    if len(entries) == 1:
        return Cell(entries[0]["value"], entries[0]["low"], entries[0]["high"], small=small)
    values = [entry["value"] for entry in entries]
    if None in values:
        return Cell(None, small=small)
    return Cell(fmean(values), deviation=stdev(values), small=small)


def _info(key: str, entry: dict[str, Any]) -> ScoreInfo:
    return ScoreInfo(key, *(entry[name] for name in ("metric", "label", "better", "digits", "about")))
