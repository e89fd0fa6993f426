"""Quality against cost: training steps, evaluations of the network, time. One row of panels per test.

A point is a line of the tables: the mean over its seeds, or one seed with its 95 % interval.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import fmean

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from palette.publish.figures.samples import sample_spec
from palette.publish.figures.style import COLORS, INK, MARKERS, look, plain
from palette.publish.tables.sheet import ARROWS
from palette.stages.reading import read_spec
from palette.stages.rows import PLOTS, Row, compared
from palette.stages.train import TrainSpec
from palette.system.files import read_json

SCORES = ("fd", "psnr")
"""Metrics for quality; the first score of each is plotted."""
WIDE = 10.0
"""An axis is logarithmic if the ratio of its largest to its smallest value is at least this."""
TICKS = (1.0, 2.0, 5.0)
"""Labeled values of a logarithmic axis, times powers of ten."""
Rows = tuple[Row, ...]
"""Rows of a line of the tables, one per seed."""


@dataclass(frozen=True)
class Panel:
    """One plot.

    points: scores of the test (`tables/scores.py`) with series (label), color (its number) and x, by series and x.
    front: True to mark the best trade-offs, the points that no other point beats in both cost and quality.
    """

    title: str
    x: str
    score: str
    better: str
    points: pd.DataFrame
    front: bool = False


def draw(name: str, tests: Sequence[pd.DataFrame], results: Path) -> Figure:
    """Draw the plot `name` of PANELS: each test with something to compare is a row."""
    rows = [panels for test in tests if (panels := PANELS[name](test, results))]
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
    for number in panel.points.color.unique():
        points = panel.points[panel.points.color == number]
        down = points.deviation.fillna(points.value - points.low).fillna(0.0)
        up = points.deviation.fillna(points.high - points.value).fillna(0.0)
        axes.errorbar(
            points.x,
            points.value,
            yerr=[down, up],
            color=COLORS[number % len(COLORS)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=6,
            linewidth=1.4,
            elinewidth=1,
            label=points.series.iloc[0],
        )
    if panel.front:
        best = front(panel)
        axes.plot(best.x, best.value, drawstyle="steps-post", linestyle=":", linewidth=1.2, color=INK, zorder=0)
        circles = "best trade-offs"
        axes.plot(
            best.x, best.value, "o", linestyle="", markersize=12, markerfacecolor="none", color=INK, label=circles
        )
    axes.set(title=panel.title, xlabel=panel.x, ylabel=f"{panel.score} {ARROWS[panel.better]}".strip())
    if panel.points.x.min() > 0 and panel.points.x.max() / panel.points.x.min() >= WIDE:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=TICKS))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    plain(axes)


def front(panel: Panel) -> pd.DataFrame:
    """Return the points that no other point beats in both cost and quality (Pareto), the cheapest first."""
    badness = panel.points.value * (-1.0 if panel.better == "higher" else 1.0)
    points = panel.points.assign(badness=badness).sort_values(["x", "badness"])
    return points[points.badness < points.badness.cummin().shift(fill_value=float("inf"))]


def _groups(test: pd.DataFrame, plot: str) -> list[list[Rows]]:
    """Return the trained lines that this plot compares with each other."""
    lines = {rows[0].experiment: rows for rows in test.drop_duplicates("line").rows}
    groups = compared([rows[0] for rows in lines.values()], PLOTS[plot])
    return [[lines[row.experiment] for row in rows] for rows in groups]


def _panels(
    test: pd.DataFrame,
    axis: str,
    points: Iterable[tuple[str, Rows, float]],
    metrics: Sequence[str],
    front: bool = False,
) -> list[Panel]:
    """Return one panel for the first score of each metric, if there are points. points: (series, line, x)."""
    places = pd.DataFrame(
        [(label, rows[0].experiment, x) for label, rows, x in points], columns=["series", "experiment", "x"]
    )
    places["color"] = pd.factorize(places.series)[0]  # a series without such a score keeps its color
    panels = []
    for metric in metrics:
        scores = test[(test.metric == metric) & test.value.map(isfinite)]
        scores = scores[scores.score == test.score[test.metric == metric].iloc[0]]
        shown = places.merge(scores, on="experiment").sort_values(["color", "x"], kind="stable")
        if not shown.empty:
            title, score = f"{test.title.iloc[0]} ({test.dataset.iloc[0]})", shown.iloc[0]
            panels.append(Panel(title, axis, score["name"], score.better, shown, front))
    return panels


def _measured(test: pd.DataFrame) -> list[str]:
    """Return the metrics in SCORES that the test has."""
    return [metric for metric in SCORES if metric in set(test.metric)]


def over_steps(test: pd.DataFrame, results: Path) -> list[Panel]:
    """Plot scores against optimizer steps."""

    def steps(row: Row) -> int:
        spec = read_spec(results / str(row.train) / "spec.yaml")
        assert isinstance(spec, TrainSpec)
        return spec.steps

    points = []
    for group in _groups(test, "steps"):
        label = ", ".join(filter(None, [group[0][0].model, group[0][0].sampler]))
        points += [(label, rows, float(steps(rows[0]))) for rows in group]
    return _panels(test, "training steps", points, _measured(test))


def over_evaluations(test: pd.DataFrame, results: Path) -> list[Panel]:
    """Plot scores against evaluations of the network per image, with a series per kind of sampler."""
    points = []
    for rows in (rows for group in _groups(test, "evaluations") for rows in group):
        sampler = sample_spec(rows[0], results).sampler
        parts = [rows[0].model, rows[0].milestone, sampler.kind if sampler else None]
        points.append((", ".join(filter(None, parts)), rows, float(rows[0].evaluations or 0)))
    return _panels(test, "evaluations of the network per image", points, _measured(test))


def over_cost(test: pd.DataFrame, results: Path) -> list[Panel]:
    """Plot the first score against the time of sampling an image and of training."""
    lines = [rows for group in _groups(test, "cost") for rows in group]
    axes = {"sampling, seconds per image": sampling_seconds, "training, device-seconds": training_seconds}
    panels = []
    for axis, seconds in axes.items():
        points = [(rows[0].label, rows, seconds(rows, results)) for rows in lines]
        panels += _panels(test, axis, points, _measured(test)[:1], front=True)
    return panels


def sampling_seconds(rows: Rows, results: Path) -> float:
    """Return the seconds of the sampling jobs per image, from their cards, as a mean over seeds.

    Several draws of an input count as images too.
    """
    found = []
    for row in rows:
        spec = sample_spec(row, results)
        cards = [read_json(file) for file in sorted((results / str(row.sample)).glob("shard-*.json"))]
        images = spec.count + ((spec.draws - 1) * min(spec.draw_inputs, spec.count) if spec.sampler else 0)
        found.append(sum(float(card["seconds"]) for card in cards) / images)
    return fmean(found)


def training_seconds(rows: Rows, results: Path) -> float:
    """Return the seconds of the training, summed over its devices, from its card, as a mean over seeds."""
    cards = [read_json(results / str(row.train) / "card.json") for row in rows]
    return float(sum(card["training_seconds"] * card["devices"] for card in cards) / len(cards))


PANELS: Mapping[str, Callable[[pd.DataFrame, Path], list[Panel]]] = {
    "steps": over_steps,
    "evaluations": over_evaluations,
    "cost": over_cost,
}
"""Name of the plot → its panels of a test; none if there is nothing to compare."""
