"""Figures, plots, the gallery and the main page → `figures/…`, `gallery/…`, `index.html`."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from palette.publish.figures import curves, panels, samples, style, tradeoffs
from palette.publish.pages import gallery, report
from palette.publish.pages.report import Picture
from palette.publish.tables.config_table import build
from palette.publish.tables.scores import by_test, read_scores
from palette.stages.reading import read_spec
from palette.stages.report import ReportSpec
from palette.stages.rows import PLOTS, Row
from palette.stages.stage import Stage
from palette.stages.tabulate import TabulateSpec
from palette.system.files import replacing, write_text
from palette.system.progress import say

PLOT_TEXTS = {
    "steps": ("Quality over the training", "Scores of models at several steps of their training."),
    "evaluations": (
        "Quality against evaluations of the network",
        "Scores of the same models with several samplers, by the number of evaluations of the network for one image.",
    ),
    "cost": (
        "Quality against cost",
        "Time as the cards of the sampling and training jobs tell it, loading included, on whichever machines they ran. "
        "In circles: no other model is both cheaper and better.",
    ),
}
"""Plot → its title and description."""
MASKS = "The masks of the first test images, in rows; white is what the model must generate."


def run(stage: Stage[ReportSpec]) -> None:
    """Draw everything and write the page last."""
    stage.forget_cards()
    spec, results = stage.spec, stage.results
    scores = by_test(read_scores(spec.rows, results))
    tests = [[rows[0] for rows in test.drop_duplicates("line").rows] for test in scores]
    if spec.gallery_files:
        gallery.write(spec, results, stage.path("gallery"))
    page = report.render(
        title=spec.title,
        tables=[build(_table(results, name), results) for name in spec.tables],
        figures=[*(picture for test in tests for picture in _pictures(stage, test)), *_masks(stage)],
        comparisons=[_plot(stage, name, scores) for name in PLOTS if f"{name}.svg" in spec.figures],
        curves=[_curves(stage)] if "training.svg" in spec.figures else [],
        trainings=report.trainings(spec.rows, results),
        sources=report.sources(spec.rows, results),
        rows=spec.rows,
        adoptions=report.adoptions(spec.rows, results),
        gallery=bool(spec.gallery_files),
    )
    if "overview.png" in spec.figures:
        panels.save(samples.overview(tests, results), stage.path("figures/overview.png"))
    write_text(stage.path("index.html"), page)
    stage.write_card(["index.html", *_only(stage)])
    say(f"open {stage.path('index.html')}")


def _table(results: Path, name: str) -> TabulateSpec:
    spec = read_spec(results / f"tabulate/{name}/spec.yaml")
    assert isinstance(spec, TabulateSpec)
    return spec


def _only(stage: Stage[ReportSpec]) -> list[str]:
    """Delete the figures of an earlier config, which must not look like results of this one.

    Returns the names of the other files.
    """
    drawn = [*stage.spec.figures, *(f"{name[:-4]}.png" for name in stage.spec.figures if name.endswith(".svg"))]
    current = [*sorted(f"figures/{name}" for name in drawn), *(f"gallery/{name}" for name in stage.spec.gallery_files)]
    for folder in ("figures", "gallery"):
        for old in set(stage.path(folder).rglob("*.*")) - {stage.path(name) for name in current}:
            if old.is_file():
                old.unlink()
    return current


def _pictures(stage: Stage[ReportSpec], test: Sequence[Row]) -> Iterator[Picture]:
    """Draw those figures of one test that the plan names: its panels, several samples of one input, failure cases."""
    spec, results = stage.spec, stage.results
    name, title = f"{test[0].dataset}-{test[0].task}.png", f"{test[0].title} ({test[0].dataset})"
    models = ", ".join(row.label for row in samples.outputs(test))
    about = f"Rows: test images of different classes. Columns: the degraded input, the output of {models}, and the original."
    if name in spec.figures:
        path = stage.path(f"figures/{name}")
        panels.save(samples.figure(test, results, spec.inputs), path)
        yield Picture(path, title, about)
    if f"draws/{name}" in spec.figures:
        path = stage.path(f"figures/draws/{name}")
        panels.save(samples.draws(test, results, spec.inputs, spec.draw_inputs, spec.draws), path)
        about = "The degraded input, samples from different noise, and the original."
        yield Picture(path, f"{title}: several samples of one input", about)
    if f"failures/{name}" in spec.figures:
        path = stage.path(f"figures/failures/{name}")
        panels.save(samples.failures(test, results), path)
        about = "The test images that each model does worst on, worst first: input, output, original."
        yield Picture(path, f"{title}: failure cases", about)


def _plot(stage: Stage[ReportSpec], name: str, tests: list[pd.DataFrame]) -> Picture:
    """Draw a plot of quality against cost."""
    path = stage.path(f"figures/{name}.svg")
    style.save(tradeoffs.draw(name, tests, stage.results), path)
    return Picture(path, *PLOT_TEXTS[name])


def _masks(stage: Stage[ReportSpec]) -> Iterator[Picture]:
    """Copy the sheets of the first evaluation masks of each kind."""
    for name, row in stage.spec.mask_sheets.items():
        path = stage.path(f"figures/{name}")
        with replacing(path) as temporary:
            shutil.copyfile(stage.results / str(row.mask) / "masks.png", temporary)
        yield Picture(path, f"Masks: {row.condition} ({row.dataset})", MASKS)


def _curves(stage: Stage[ReportSpec]) -> Picture:
    """Draw training curves."""
    path = stage.path("figures/training.svg")
    style.save(curves.draw(curves.curves(stage.spec.rows, stage.results)), path)
    return Picture(path, "Training loss", "Loss against optimizer step, one panel per model.")
