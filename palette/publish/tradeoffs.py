"""Quality against what it takes: training steps, evaluations of the network, time. One row of panels per test.

A point is a line of the tables: the mean over its seeds, or one seed with its 95 % interval.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from palette.files import read_json
from palette.publish.figures import sample_spec
from palette.publish.lines import Block, Cell, Line, ScoreInfo
from palette.publish.plots import COLORS, MARKERS, look, plain
from palette.publish.tables import ARROWS
from palette.spec import PLOTS, TrainSpec, compared, read_spec

SCORES = ("fd", "psnr")
"""What quality is told by: the first score of each of these metrics."""
WIDE = 10.0
"""From this ratio of the largest to the smallest on, an axis is logarithmic."""


@dataclass(frozen=True)
class Series:
    """Points that belong together, by x."""

    label: str
    points: Sequence[tuple[float, Cell]]


@dataclass(frozen=True)
class Panel:
    """One plot. front: whether the best trade-offs are marked, so that no other point is both cheaper and better."""

    title: str
    x: str
    score: ScoreInfo
    series: Sequence[Series]
    front: bool = False


Panels = Callable[[Block, Path], list[Panel]]


def draw(name: str, blocks: Sequence[Block], results: Path) -> Figure:
    """The plot `name` of PANELS: each test that has something to compare is a row."""
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
    xs = sorted({x for series in panel.series for x, _ in series.points})
    for number, series in enumerate(panel.series):
        color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
        values = [cell.value for _, cell in series.points]
        axes.errorbar(
            [x for x, _ in series.points],
            values,
            yerr=tuple(zip(*(_spread(cell) for _, cell in series.points), strict=True)),
            **{"color": color, "marker": marker, "markersize": 6, "linewidth": 1.4, "elinewidth": 1},
            label=series.label,
        )
    if panel.front:
        x, y = zip(*front(panel), strict=True)
        drawstyle = {"drawstyle": "steps-post", "linestyle": ":", "linewidth": 1.2, "color": COLORS[-1]}
        axes.plot(x, y, **drawstyle, zorder=0, label="best trade-offs")
        axes.plot(x, y, linestyle="", marker="o", markersize=12, markerfacecolor="none", color=COLORS[-1], zorder=0)
    axes.set(title=panel.title, xlabel=panel.x, ylabel=f"{panel.score.label} {ARROWS[panel.score.better]}".strip())
    if xs[0] > 0 and xs[-1] / xs[0] >= WIDE:
        axes.set_xscale("log")
    plain(axes)


def _spread(cell: Cell) -> tuple[float, float]:
    """How far the bar of a point reaches down and up."""
    assert cell.value is not None
    if cell.deviation is not None:
        return cell.deviation, cell.deviation
    return (0.0 if cell.low is None else cell.value - cell.low), (0.0 if cell.high is None else cell.high - cell.value)


def front(panel: Panel) -> list[tuple[float, float]]:
    """The points (x, value) than which none is both cheaper and better (Pareto), the cheapest first."""
    sign = -1.0 if panel.score.better == "higher" else 1.0
    points = sorted((x, sign * cell.value) for s in panel.series for x, cell in s.points if cell.value is not None)
    kept: list[tuple[float, float]] = []
    for x, badness in points:
        if not kept or badness < kept[-1][1]:
            kept.append((x, badness))
    return [(x, sign * badness) for x, badness in kept]


# ------------------------------------------------------------------------------------------------ the plots


def _scores(block: Block) -> list[ScoreInfo]:
    """The block's first score of each metric in SCORES."""
    infos = {info.key: info for line in block.lines for info in line.infos.values()}
    found = [next((info for info in infos.values() if info.metric == metric), None) for metric in SCORES]
    return [info for info in found if info is not None]


def _groups(block: Block, plot: str) -> list[list[Line]]:
    """The trained lines that this plot compares with each other."""
    lines = {line.row.experiment: line for line in block.lines if line.row.train}
    groups = compared([line.row for line in lines.values()], PLOTS[plot])
    return [[lines[row.experiment] for row in rows] for rows in groups]


def _series(label: str, lines: Sequence[Line], x: Callable[[Line], float], score: ScoreInfo) -> list[Series]:
    """The lines that have the score, by x; none if there are none."""
    cells = [(x(line), line.cells[score.key]) for line in lines if score.key in line.cells]
    points = sorted(((x, cell) for x, cell in cells if cell.value is not None), key=lambda point: point[0])
    return [Series(label, points)] if points else []


def _panels(block: Block, x: str, groups: Mapping[str, Sequence[Line]], of: Callable[[Line], float]) -> list[Panel]:
    """One panel per score, a series per group."""
    made = []
    for score in _scores(block):
        series = [s for label, lines in groups.items() for s in _series(label, lines, of, score)]
        made += [Panel(f"{block.title} ({block.dataset})", x, score, series)] if series else []
    return made


def over_steps(block: Block, results: Path) -> list[Panel]:
    """Scores against optimizer steps."""

    def steps(line: Line) -> float:
        spec = read_spec(results / str(line.row.train) / "spec.yaml")
        assert isinstance(spec, TrainSpec)
        return spec.steps

    groups = {", ".join(filter(None, [g[0].row.model, g[0].row.sampler])): g for g in _groups(block, "steps")}
    return _panels(block, "training steps", groups, steps)


def over_evaluations(block: Block, results: Path) -> list[Panel]:
    """Scores against evaluations of the network per image, a series per kind of sampler."""
    kinds: dict[str, list[Line]] = {}
    for group in _groups(block, "evaluations"):
        for line in group:
            sampler = sample_spec(line.row, results).sampler
            parts = [line.row.model, line.row.milestone, sampler.kind if sampler else None]
            kinds.setdefault(", ".join(filter(None, parts)), []).append(line)
    return _panels(block, "evaluations of the network per image", kinds, lambda line: float(line.row.evaluations or 0))


def over_cost(block: Block, results: Path) -> list[Panel]:
    """The first score against the time of sampling an image and of training."""
    lines = [line for group in _groups(block, "cost") for line in group]
    made = []
    for score in _scores(block)[:1]:
        for x, of in (
            ("sampling, seconds per image", sampling_seconds),
            ("training, device-seconds", training_seconds),
        ):
            series = [s for line in lines for s in _series(line.label, [line], partial(of, results=results), score)]
            made += [Panel(f"{block.title} ({block.dataset})", x, score, series, front=True)] if series else []
    return made


def sampling_seconds(line: Line, results: Path) -> float:
    """Of the line's sampling jobs per image, as their cards say; several draws of an input are images too. Mean over seeds."""
    found = []
    for row in line.rows:
        spec = sample_spec(row, results)
        cards = [read_json(file) for file in sorted((results / str(row.sample)).glob("shard-*.json"))]
        images = spec.count + ((spec.draws - 1) * min(spec.draw_inputs, spec.count) if spec.sampler else 0)
        found.append(sum(card["seconds"] for card in cards) / images)
    return sum(found) / len(found)


def training_seconds(line: Line, results: Path) -> float:
    """Of the line's training, all its devices together, as the card says. Mean over seeds."""
    cards = [read_json(results / str(row.train) / "card.json") for row in line.rows]
    return float(sum(card["training_seconds"] * card["devices"] for card in cards) / len(cards))


PANELS: Mapping[str, Panels] = {"steps": over_steps, "evaluations": over_evaluations, "cost": over_cost}
"""Name of the plot → its panels of a test; none if it compares nothing."""
