"""Our rows arranged in the places of a table of the paper, and their differences from the paper's numbers.

A *place* is a row of the paper, or one that we add. Our lines are put into their places; an empty cell states the
reason.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from palette.publish.tables.published import METRICS, NAMES, Number, of_table
from palette.publish.tables.results import Line
from palette.stages.tabulate import TabulateSpec

GROUPS = {
    "imagenet": "ImageNet",
    "places2": "Places2",
    "places2-top-50": "Places2, top 50",
    "places2-scenery": "Places2, scenery",
    "inpainting": "Inpainting",
    "colorization": "Colorization",
}
BY_TASK = (6,)
"""Tables with a group of columns for each task; the others have one for each dataset."""
UNKNOWN = {
    10: "The paper does not list the 50 categories, nor how many images of each it took",
    11: "The paper does not list the categories of scenery, nor how many images it took",
}
"""Tables whose test images are not known."""
NOT_RUN, NOT_MEASURED, RATERS, NO_PROTOCOL = "not run", "not measured", "needs raters", "unknown protocol"
PEOPLE = "fool-rate"
"""The score that only human raters can give."""
IMAGES = "images"
"""The last column of each group: number of our images and seeds."""
ONE_SOURCE = "°"
"""Marks a number of the paper that only one transcription has."""
OTHER_NETWORKS = ("-photos", "-dinov2")
"""Suffixes of scores that are measured with networks other than the paper's."""
SectionKey = tuple[str, str]
"""Degradation and the paper's condition."""


@dataclass(frozen=True)
class Column:
    """Column of the table. group: the paper's dataset, or the task. metric: the paper's name, or IMAGES."""

    group: str
    metric: str


@dataclass
class Place:
    """A row of the paper with its numbers, or an added row without numbers."""

    section: SectionKey
    model: str
    numbers: dict[Column, Number] = field(default_factory=dict)
    ours: list[dict[str, Line]] = field(default_factory=list)
    """Our lines in this place, by group; several if there are several samplers."""

    @property
    def quoted(self) -> bool:
        """True if the row is another method's."""
        return any(number.kind == "prior" for number in self.numbers.values())


@dataclass
class Layout:
    """The places of a table with our lines in them."""

    spec: TabulateSpec
    lines: Sequence[Line]

    def __post_init__(self) -> None:
        self.places: dict[tuple[SectionKey, str], Place] = {}
        for number in self.numbers:
            place = self._place(self._section(number), number.model)
            place.numbers[Column(self._group(number), number.metric)] = number
        for line in self.lines:
            self._put(line)

    @cached_property
    def paper(self) -> int:
        assert self.spec.table.paper is not None
        return self.spec.table.paper

    @cached_property
    def numbers(self) -> list[Number]:
        return of_table(self.paper)

    @cached_property
    def columns(self) -> list[Column]:
        """The paper's columns by group, with the images at the end of each group."""
        found: dict[str, set[str]] = {}
        for number in self.numbers:
            found.setdefault(self._group(number), set()).add(number.metric)
        order = (*METRICS, IMAGES)
        return [Column(g, m) for g, metrics in found.items() for m in sorted({*metrics, IMAGES}, key=order.index)]

    @cached_property
    def groups(self) -> list[str]:
        return list(dict.fromkeys(column.group for column in self.columns))

    @property
    def sections(self) -> dict[SectionKey, list[Place]]:
        """Sections with their places, in the paper's order; then our additional ones, the originals last."""
        found: dict[SectionKey, list[Place]] = {}
        for place in self.places.values():
            found.setdefault(place.section, []).append(place)
        return dict(sorted(found.items(), key=lambda item: all(p.model == "originals" for p in item[1])))

    def _group(self, number: Number) -> str:
        return number.task if self.paper in BY_TASK else number.dataset

    def _section(self, number: Number) -> SectionKey:
        return ("", "") if self.paper in BY_TASK else (number.task, number.condition)

    def _place(self, section: SectionKey, model: str) -> Place:
        return self.places.setdefault((section, model), Place(section, model))

    def _put(self, line: Line) -> None:
        """Put one of our lines into its place."""
        model, groups = self.spec.table.models.get(line.row.model, line.row.model), self._groups_of(line)
        place = self._place(self._section_of(line), model)
        free = next((ours for ours in place.ours if not set(groups) & ours.keys()), None)
        if free is None:
            place.ours.append(free := {})
        free.update(dict.fromkeys(groups, line))

    def _groups_of(self, line: Line) -> list[str]:
        """Return the groups of columns that a line fills.

        The originals, which have no task, fill those of each task.
        """
        if self.paper in BY_TASK:
            return [line.row.degradation] if line.row.degradation else self.groups
        return [self.spec.datasets[line.row.dataset].published or self.groups[0]]

    def _section_of(self, line: Line) -> SectionKey:
        """Return the section that a line belongs to; a new one if the paper has none."""
        if self.paper in BY_TASK:
            return "", ""
        known = [self._section(number) for number in self.numbers if (number.kind == "originals") == line.originals]
        own = (line.row.degradation or "", line.row.condition or "")
        fits = (key for key in known if line.originals or (key[0] == own[0] and key[1] in (own[1], "unknown")))
        return next(fits, own)


def keys(line: Line, metric: str) -> list[str]:
    """Return our scores for a column of the paper: those by its networks first, then in the order of the extractors."""
    found = [key for key, info in line.infos.items() if NAMES.get(info.metric, info.metric) == metric]
    return sorted(found, key=lambda key: key.endswith(OTHER_NETWORKS))


def shown(line: Line | None, column: Column) -> str | None:
    """Return the key of our score that is shown in a column."""
    return next(iter(keys(line, column.metric)), None) if line else None


def difference(layout: Layout, place: Place, line: Line | None, column: Column) -> float | None:
    """Return our value minus the paper's if both are of the same images and comparable networks; otherwise None."""
    number, key = place.numbers.get(column), shown(line, column)
    if number is None or key is None or line is None or key.endswith(OTHER_NETWORKS):
        return None
    value = line.cells[key].value
    if value is None or layout.spec.datasets[line.row.dataset].published is None:
        return None
    return value - number.value


def why_missing(layout: Layout, line: Line | None, column: Column) -> str:
    """Return why one of our cells has no number."""
    if column.metric == PEOPLE:
        return RATERS
    if line is None:
        return NO_PROTOCOL if layout.paper in UNKNOWN else NOT_RUN
    return NOT_MEASURED


def cells(layout: Layout) -> Iterator[tuple[Place, Line | None, Column]]:
    """Yield every number of the table, the paper's and ours, in the order of its rows."""
    columns = [column for column in layout.columns if column.metric != IMAGES]
    for places in layout.sections.values():
        for place in places:
            lines: list[dict[str, Line]] = [{}] if place.quoted else place.ours or [{}]
            yield from ((place, ours.get(column.group), column) for ours in lines for column in columns)


def status(layout: Layout, place: Place, line: Line | None, column: Column) -> str:
    """Return what a cell lacks, in one or two words; empty if both numbers exist."""
    if place.quoted:
        return "quoted" if column in place.numbers else "not published"
    if shown(line, column) is None:
        return why_missing(layout, line, column)
    return "" if column in place.numbers else "not published"
