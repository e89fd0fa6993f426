"""Quality against cost: training steps, evaluations of the network, time. One row of panels per test.

A point is a line of the tables: the mean over its seeds, or one seed with its 95 % interval.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from palette.publish.figures.samples import sample_spec
from palette.publish.figures.style import COLORS, INK, MARKERS, look, plain
from palette.publish.tables.results import Block, Cell, Line, ScoreInfo
from palette.publish.tables.sheet import ARROWS
from palette.stages.reading import read_spec
from palette.stages.rows import PLOTS, compared
from palette.stages.train import TrainSpec
from palette.system.files import read_json

SCORES = ("fd", "psnr")
"""Metrics for quality; the first score of each is plotted."""
WIDE = 10.0
"""An axis is logarithmic if the ratio of its largest to its smallest value is at least this."""
TICKS = (1.0, 2.0, 5.0)
"""Labeled values of a logarithmic axis, times powers of ten."""


@dataclass(frozen=True)
class Series:
    """Points of one series, by x."""

    label: str
    points: Sequence[tuple[float, Cell]]


@dataclass(frozen=True)
class Panel:
    """One plot.

    front: True to mark the best trade-offs, the points that no other point beats in both cost and quality.
    """

    title: str
    x: str
    score: ScoreInfo
    series: Sequence[Series]
    front: bool = False


Panels = Callable[[Block, Path], list[Panel]]


def draw(name: str, blocks: Sequence[Block], results: Path) -> Figure:
    """Draw the plot `name` of PANELS: each test with something to compare is a row."""
    rows = [panels for block in blocks if (panels := PANELS[name](block, results))]
    columns = max(map(len, rows))
    with look():
        figure = Figure(figsize=(4.6 * columns + 1.6, 3.2 * len(rows)), layout="constrained", dpi=150)
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for axes, panels in zip(grid, rows, strict=True):
            for one, panel in zip(axes, panels, strict=False):
                _draw(one, panel)
            for unused in axes[len(panels) :]:
                unused.set_axis_off()
            axes[len(panels) - 1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    for number, series in enumerate(panel.series):
        if not series.points:  # no such score; it keeps its color
            continue
        _draw_series(axes, series, COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)])
    if panel.front:
        x, y = zip(*front(panel), strict=True)
        axes.plot(x, y, drawstyle="steps-post", linestyle=":", linewidth=1.2, color=INK, zorder=0)
        circles = "best trade-offs"
        axes.plot(x, y, linestyle="", marker="o", markersize=12, markerfacecolor="none", color=INK, label=circles)
    axes.set(title=panel.title, xlabel=panel.x, ylabel=f"{panel.score.label} {ARROWS[panel.score.better]}".strip())
    xs = [x for series in panel.series for x, _ in series.points]
    if min(xs) > 0 and max(xs) / min(xs) >= WIDE:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=TICKS))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    plain(axes)


def _draw_series(axes: Axes, series: Series, color: str, marker: str) -> None:
    cells = [cell for _, cell in series.points]
    down, up = zip(*map(_spread, cells), strict=True)
    axes.errorbar(
        [x for x, _ in series.points],
        [cell.value for cell in cells if cell.value is not None],
        yerr=[down, up],
        color=color,
        marker=marker,
        markersize=6,
        linewidth=1.4,
        elinewidth=1,
        label=series.label,
    )


def _spread(cell: Cell) -> tuple[float, float]:
    """Return how far the error bar of a point extends down and up."""
    assert cell.value is not None
    if cell.deviation is not None:
        return cell.deviation, cell.deviation
    return (0.0 if cell.low is None else cell.value - cell.low), (0.0 if cell.high is None else cell.high - cell.value)


def front(panel: Panel) -> list[tuple[float, float]]:
    """Return the points (x, value) that no other point beats in both cost and quality (Pareto), the cheapest first."""
    sign = -1.0 if panel.score.better == "higher" else 1.0
    points = sorted((x, sign * cell.value) for s in panel.series for x, cell in s.points if cell.value is not None)
    kept: list[tuple[float, float]] = []
    for x, badness in points:
        if not kept or badness < kept[-1][1]:
            kept.append((x, badness))
    return [(x, sign * badness) for x, badness in kept]


# ------------------------------------------------------------------------------------------------ the plots


def _scores(block: Block) -> list[ScoreInfo]:
    """Return the block's first score of each metric in SCORES."""
    infos = {info.key: info for line in block.lines for info in line.infos.values()}
    found = [next((info for info in infos.values() if info.metric == metric), None) for metric in SCORES]
    return [info for info in found if info is not None]


def _groups(block: Block, plot: str) -> list[list[Line]]:
    """Return the trained lines that this plot compares with each other."""
    lines = {line.row.experiment: line for line in block.lines if line.row.train}
    groups = compared([line.row for line in lines.values()], PLOTS[plot])
    return [[lines[row.experiment] for row in rows] for rows in groups]


def _series(label: str, lines: Sequence[Line], x: Callable[[Line], float], score: ScoreInfo) -> Series:
    """Return the lines that have the score, sorted by x."""
    cells = [(x(line), line.cells[score.key]) for line in lines if score.key in line.cells]
    return Series(label, sorted(((x, cell) for x, cell in cells if cell.value is not None), key=lambda point: point[0]))


def _panel(block: Block, x: str, score: ScoreInfo, series: Sequence[Series], marked: bool = False) -> list[Panel]:
    """Return the panel of these series; none if they have no points."""
    return (
        [Panel(f"{block.title} ({block.dataset})", x, score, series, marked)] if any(s.points for s in series) else []
    )


def _panels(block: Block, x: str, groups: Mapping[str, Sequence[Line]], of: Callable[[Line], float]) -> list[Panel]:
    """Return one panel per score, with a series per group."""
    made = []
    for score in _scores(block):
        made += _panel(block, x, score, [_series(label, lines, of, score) for label, lines in groups.items()])
    return made


def over_steps(block: Block, results: Path) -> list[Panel]:
    """Plot scores against optimizer steps."""

    def steps(line: Line) -> float:
        spec = read_spec(results / str(line.row.train) / "spec.yaml")
        assert isinstance(spec, TrainSpec)
        return spec.steps

    groups = {", ".join(filter(None, [g[0].row.model, g[0].row.sampler])): g for g in _groups(block, "steps")}
    return _panels(block, "training steps", groups, steps)


def over_evaluations(block: Block, results: Path) -> list[Panel]:
    """Plot scores against evaluations of the network per image, with a series per kind of sampler."""
    kinds: dict[str, list[Line]] = {}
    for group in _groups(block, "evaluations"):
        for line in group:
            sampler = sample_spec(line.row, results).sampler
            parts = [line.row.model, line.row.milestone, sampler.kind if sampler else None]
            kinds.setdefault(", ".join(filter(None, parts)), []).append(line)
    return _panels(block, "evaluations of the network per image", kinds, lambda line: float(line.row.evaluations or 0))


def over_cost(block: Block, results: Path) -> list[Panel]:
    """Plot the first score against the time of sampling an image and of training."""
    lines = [line for group in _groups(block, "cost") for line in group]
    made = []
    for score in _scores(block)[:1]:
        for x, of in (
            ("sampling, seconds per image", sampling_seconds),
            ("training, device-seconds", training_seconds),
        ):
            series = [_series(line.label, [line], partial(of, results=results), score) for line in lines]
            made += _panel(block, x, score, series, marked=True)
    return made


def sampling_seconds(line: Line, results: Path) -> float:
    """Return the seconds of the line's sampling jobs per image, from their cards, as a mean over seeds.

    Several draws of an input count as images too.
    """
    found = []
    for row in line.rows:
        spec = sample_spec(row, results)
        cards = [read_json(file) for file in sorted((results / str(row.sample)).glob("shard-*.json"))]
        images = spec.count + ((spec.draws - 1) * min(spec.draw_inputs, spec.count) if spec.sampler else 0)
        found.append(sum(float(card["seconds"]) for card in cards) / images)
    return fmean(found)


def training_seconds(line: Line, results: Path) -> float:
    """Return the seconds of the line's training, summed over its devices, from its card, as a mean over seeds."""
    cards = [read_json(results / str(row.train) / "card.json") for row in line.rows]
    return float(sum(card["training_seconds"] * card["devices"] for card in cards) / len(cards))


PANELS: Mapping[str, Panels] = {"steps": over_steps, "evaluations": over_evaluations, "cost": over_cost}
"""Name of the plot → its panels of a test; none if there is nothing to compare."""
