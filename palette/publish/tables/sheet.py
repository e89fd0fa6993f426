"""A table as printed: headings, sections, lines and cells of text, and its records for the CSV.

`formats.py` writes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

MISSING, INFINITE = "—", "∞"
ARROWS = {"lower": "↓", "higher": "↑", "reference": ""}

Kind = Literal["trained", "baseline", "quoted", "paper", "ours", "difference"]
"""Kind of a line. `quoted`: another method, from the paper. `paper`: the authors' own.

`ours`, `difference`: below it.
"""


@dataclass(frozen=True)
class Entry:
    """A cell."""

    text: str
    detail: str = ""
    """Interval, deviation or share, printed smaller where possible."""
    mark: str = ""
    bold: bool = False
    missing: bool = False
    """True if the text is the reason why there is no number."""
    experiment: str | None = None
    """Experiment whose images are behind the number."""


@dataclass(frozen=True)
class Heading:
    """Heading of a column with scores. Neighbors in the same group share its name above them."""

    label: str
    """`FID ↓`"""
    group: str = ""
    published: bool = False
    """True if the column holds only numbers of the paper."""


@dataclass(frozen=True)
class SheetLine:
    """A line of a table. heads: the first cells, which identify the line. entries: one for each heading."""

    heads: tuple[str, ...]
    entries: tuple[Entry, ...]
    kind: Kind = "trained"


@dataclass(frozen=True)
class Section:
    """Lines under one title, which may be empty."""

    title: str
    lines: tuple[SheetLine, ...]


@dataclass(frozen=True)
class Sheet:
    """A complete table."""

    name: str
    title: str
    heads: tuple[str, ...]
    """Headings of the first columns."""
    columns: tuple[Heading, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...]
    records: tuple[Mapping[str, object], ...]
    """One for each number, with the names in `formats.FIELDS`."""

    @property
    def width(self) -> int:
        return len(self.heads) + len(self.columns)

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Names of the groups with their numbers of columns; empty if no column is in a group."""
        found = [(name, len(list(columns))) for name, columns in groupby(self.columns, lambda c: c.group)]
        return found if any(name for name, _ in found) else []


def percent(apart: float, of: float) -> str:
    """Return `(+4 %)`; empty if there is nothing to compare with."""
    return f"({100 * apart / of:+.0f} %)".replace("-", "−") if of else ""
