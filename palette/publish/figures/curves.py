"""Training curves: loss against optimizer step, one panel per model."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from palette.errors import DataError
from palette.model.facts import read_facts
from palette.publish.figures.style import COLORS, STYLES, look, plain
from palette.stages.reading import read_spec
from palette.stages.rows import Row
from palette.stages.train import TrainSpec

COLUMNS = 3
TICKS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
"""Labeled values of the loss, times powers of ten."""


@dataclass(frozen=True)
class Curve:
    """Loss curve of one training."""

    model: str
    label: str
    objective: str
    steps: npt.NDArray[np.int64]
    losses: npt.NDArray[np.float64]


def curves(rows: Sequence[Row], results: Path) -> list[Curve]:
    """Return the log of each training of `rows`, once each.

    A training that was continued is part of the longest one.
    """
    longest: dict[str, tuple[int, str]] = {}
    for folder in dict.fromkeys(row.training for row in rows if row.training):
        spec = read_spec(results / folder / "spec.yaml")
        assert isinstance(spec, TrainSpec)
        longest[spec.state_key] = max(longest.get(spec.state_key, (0, "")), (spec.steps, folder))
    shown = {folder for _, folder in longest.values()}
    trainings = {row.training: row for row in reversed(rows) if row.training is not None and row.training in shown}
    return [_curve(results / folder, row, list(trainings.values())) for folder, row in reversed(trainings.items())]


def _curve(folder: Path, row: Row, rows: Sequence[Row]) -> Curve:
    objective = read_facts(folder / "model.json").objective
    steps, losses = read_log(folder / "log.jsonl")
    same = [r for r in rows if r.model == row.model]
    parts = [row.dataset if len({r.dataset for r in same}) > 1 else None, f"seed {row.seed}"]
    if len({(r.task) for r in same}) > 1:
        parts.insert(1, row.task)
    return Curve(
        row.model, ", ".join(filter(None, parts)), f"{objective.kind}, {objective.loss.upper()}", steps, losses
    )


def read_log(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the steps and losses of a `log.jsonl`. Raises DataError if it is damaged."""
    try:
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return np.array([e["step"] for e in entries], dtype=np.int64), np.array(
            [e["loss"] for e in entries], dtype=np.float64
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a training log ({error}). Delete its folder and run `snakemake` again.") from None


def draw(shown: Sequence[Curve]) -> Figure:
    """Draw one panel per model: losses of different objectives have no common scale."""
    models = list(dict.fromkeys(curve.model for curve in shown))
    columns = min(COLUMNS, len(models))
    rows = -(-len(models) // columns)
    with look():
        figure = Figure(figsize=(4.2 * columns, 3.5 * rows), layout="constrained", dpi=150)
        for number, model in enumerate(models):
            axes = figure.add_subplot(rows, columns, number + 1)
            _panel(axes, model, [curve for curve in shown if curve.model == model])
    return figure


def _panel(axes: Axes, model: str, shown: Sequence[Curve]) -> None:
    for number, curve in enumerate(shown):
        color, style = COLORS[number % len(COLORS)], STYLES[number // len(COLORS) % len(STYLES)]
        axes.plot(curve.steps, curve.losses, color=color, linestyle=style, linewidth=1.4, label=curve.label)
    axes.set(title=f"{model} ({shown[0].objective})", xlabel="step", ylabel="training loss", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=TICKS))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    plain(axes)
    if len(shown) > 1:
        axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
