"""Training curves: loss against optimizer step, one panel per model."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
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


def curves(rows: Sequence[Row], results: Path) -> pd.DataFrame:
    """Return the log of each training of `rows`, once each: training (folder), model, label, objective, step, loss.

    A training that was continued is part of the longest one.
    """
    longest: dict[str, tuple[int, str]] = {}
    for folder in dict.fromkeys(row.training for row in rows if row.training):
        spec = read_spec(results / folder / "spec.yaml")
        assert isinstance(spec, TrainSpec)
        longest[spec.state_key] = max(longest.get(spec.state_key, (0, "")), (spec.steps, folder))
    chosen = {folder for _, folder in longest.values()}
    trainings = {row.training: row for row in reversed(rows) if row.training in chosen}
    return pd.concat(_curve(row, results, list(trainings.values())) for row in reversed(trainings.values()))


def _curve(row: Row, results: Path, rows: Sequence[Row]) -> pd.DataFrame:
    folder = results / str(row.training)
    objective = read_facts(folder / "model.json").objective
    same = [r for r in rows if r.model == row.model]
    parts = [
        row.dataset if len({r.dataset for r in same}) > 1 else None,
        row.task if len({r.task for r in same}) > 1 else None,
        f"seed {row.seed}",
    ]
    return read_log(folder / "log.jsonl").assign(
        training=row.training,
        model=row.model,
        label=", ".join(filter(None, parts)),
        objective=f"{objective.kind}, {objective.loss.upper()}",
    )


def read_log(path: Path) -> pd.DataFrame:
    """Return the step and loss of each entry of a `log.jsonl`. Raises DataError if it is damaged."""
    try:
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        log = pd.DataFrame([(e["step"], e["loss"]) for e in entries], columns=["step", "loss"])
        return log.astype({"step": int, "loss": float})  # null, a loss that overflowed, is NaN
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a training log ({error}). Delete its folder and run `snakemake` again.") from None


def draw(logs: pd.DataFrame) -> Figure:
    """Draw one panel per model: losses of different objectives have no common scale."""
    models = list(logs.groupby("model", sort=False))
    columns = min(COLUMNS, len(models))
    rows = -(-len(models) // columns)
    with look():
        figure = Figure(figsize=(4.2 * columns, 3.5 * rows), layout="constrained", dpi=150)
        for number, (model, log) in enumerate(models):
            _panel(figure.add_subplot(rows, columns, number + 1), f"{model} ({log.objective.iloc[0]})", log)
    return figure


def _panel(axes: Axes, title: str, logs: pd.DataFrame) -> None:
    trainings = logs.groupby(["training", "label"], sort=False)
    for number, ((_, label), log) in enumerate(trainings):
        color, style = COLORS[number % len(COLORS)], STYLES[number // len(COLORS) % len(STYLES)]
        axes.plot(log.step, log.loss, color=color, linestyle=style, linewidth=1.4, label=label)
    axes.set(title=title, xlabel="step", ylabel="training loss", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=TICKS))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    plain(axes)
    if len(trainings) > 1:
        axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
