"""Figures, plots, the gallery and the main page → `figures/…`, `gallery/…`, `index.html`."""

import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from palette.publish.figures import curves, panels, samples, style, tradeoffs
from palette.publish.pages import gallery, report
from palette.publish.tables import paper_table
from palette.publish.tables.config_table import build
from palette.publish.tables.results import Block, blocks
from palette.stages.reading import read_spec
from palette.stages.report import ReportSpec
from palette.stages.rows import PLOTS
from palette.stages.stage import Stage
from palette.stages.tabulate import TabulateSpec
from palette.system.files import replacing, write_text
from palette.system.progress import say

PLOTS_SHOW = {
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


def run(stage: Stage[ReportSpec]) -> None:
    """Draw everything and write the page last."""
    stage.forget_cards()
    spec, results = stage.spec, stage.results
    tables = [_table(results, name) for name in spec.tables]
    made = blocks(spec.rows, results)
    in_gallery = gallery.write(spec, results, stage.path("gallery")) if spec.gallery_files else []
    content = report.Page(
        title=spec.title,
        grids=[build(table, results) for table in tables if not table.table.paper],
        sheets=[paper_table.build(table, results) for table in tables if table.table.paper],
        figures=[*(picture for block in made for picture in _pictures(stage, block)), *_masks(stage)],
        comparisons=[_comparison(stage, name, made) for name in PLOTS if f"{name}.svg" in spec.figures],
        curves=_curves(stage),
        trainings=report.trainings(spec.rows, results),
        sources=report.sources(spec.rows, results),
        rows=spec.rows,
        adoptions=report.adoptions(spec.rows, results),
        gallery=bool(in_gallery),
    )
    if "overview.png" in spec.figures:
        panels.save(samples.overview(made, results), stage.path("figures/overview.png"))
    write_text(stage.path("index.html"), report.render(content))
    stage.write_card(["index.html", *_only(stage, in_gallery)])
    say(f"open {stage.path('index.html')}")


def _table(results: Path, name: str) -> TabulateSpec:
    spec = read_spec(results / f"tabulate/{name}/spec.yaml")
    assert isinstance(spec, TabulateSpec)
    return spec


def _only(stage: Stage[ReportSpec], in_gallery: list[str]) -> list[str]:
    """Delete the figures of an earlier config, which must not look like results of this one.

    Returns the names of the other files.
    """
    drawn = [*stage.spec.figures, *(f"{name[:-4]}.png" for name in stage.spec.figures if name.endswith(".svg"))]
    kept = [*sorted(f"figures/{name}" for name in drawn), *(f"gallery/{name}" for name in in_gallery)]
    for folder in ("figures", "gallery"):
        for old in set(stage.path(folder).rglob("*.*")) - {stage.path(name) for name in kept}:
            if old.is_file():
                old.unlink()
    return kept


def _pictures(stage: Stage[ReportSpec], block: Block) -> list[report.Picture]:
    """Draw those figures of one task that the plan names: its panels, several samples of one input, failure cases."""
    spec, results, name = stage.spec, stage.results, f"{samples.slug(block)}.png"
    title = f"{block.title} ({block.dataset})"
    models = ", ".join(line.label for line in samples.outputs(block))
    pool = spec.draw_inputs
    every: list[tuple[str, str, str, Callable[[], Image.Image]]] = [
        (
            name,
            title,
            f"Rows: test images of different classes. Columns: the degraded input, the output of {models}, and the original.",
            lambda: samples.figure(block, results, spec.inputs),
        ),
        (
            f"draws/{name}",
            f"{title}: several samples of one input",
            "The degraded input, samples from different noise, and the original.",
            lambda: samples.draws(block, results, spec.inputs, pool, spec.draws),
        ),
        (
            f"failures/{name}",
            f"{title}: failure cases",
            "The test images that each model does worst on, worst first: input, output, original.",
            lambda: samples.failures(block, results),
        ),
    ]
    shown = []
    for file, heading, about, draw in every:
        if file in spec.figures:
            panels.save(draw(), stage.path(f"figures/{file}"))
            shown.append(report.Picture(stage.path(f"figures/{file}"), heading, about))
    return shown


def _comparison(stage: Stage[ReportSpec], name: str, made: list[Block]) -> report.Picture:
    """Draw a plot of quality against cost."""
    path = stage.path(f"figures/{name}.svg")
    style.save(tradeoffs.draw(name, made, stage.results), path)
    return report.Picture(path, *PLOTS_SHOW[name])


def _masks(stage: Stage[ReportSpec]) -> list[report.Picture]:
    """Copy the sheets of the first evaluation masks of each kind."""
    sheets = []
    for name, row in stage.spec.mask_sheets.items():
        sheets.append(report.Picture(stage.path(f"figures/{name}"), f"Masks: {row.condition} ({row.dataset})", MASKS))
        with replacing(sheets[-1].path) as temporary:
            shutil.copyfile(stage.results / str(row.mask) / "masks.png", temporary)
    return sheets


MASKS = "The masks of the first test images, in rows; white is what the model must generate."


def _curves(stage: Stage[ReportSpec]) -> list[report.Picture]:
    """Draw training curves, if the config trains anything."""
    logs = curves.curves(stage.spec.rows, stage.results)
    if not logs:
        return []
    path = stage.path("figures/training.svg")
    style.save(curves.draw(logs), path)
    return [report.Picture(path, "Training loss", "Loss against optimizer step, one panel per model.")]
