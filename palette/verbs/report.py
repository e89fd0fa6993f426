"""Figures, training curves, the gallery and the page that shows everything → `figures/…`, `gallery/…`, `index.html`."""

from pathlib import Path

from palette.files import write_text
from palette.publish import curves, figures, gallery, page, panels, paper
from palette.publish.lines import Block, blocks
from palette.publish.tables import build
from palette.spec import ReportSpec, TabulateSpec, read_spec
from palette.stage import Stage, say


def run(stage: Stage[ReportSpec]) -> None:
    """Draw everything and write the page last."""
    stage.forget_cards()
    spec, results = stage.spec, stage.results
    tables = [_table(results, name) for name in spec.tables]
    made = blocks(spec.rows, results)
    in_gallery = gallery.write(spec, results, stage.path("gallery")) if spec.gallery_files else []
    content = page.Page(
        title=spec.title,
        grids=[build(table, results) for table in tables if not table.table.paper],
        sheets=[paper.build(table, results) for table in tables if table.table.paper],
        figures=_figures(stage, made),
        curves=_curves(stage),
        trainings=page.trainings(spec.rows, results),
        sources=page.sources(spec.rows, results),
        rows=spec.rows,
        gallery=bool(in_gallery),
    )
    write_text(stage.path("index.html"), page.render(content))
    drawn = {picture.path for picture in (*content.figures, *content.curves)}
    drawn |= {stage.path("figures/overview.png")} if content.figures else set()
    drawn |= {picture.path.with_suffix(".png") for picture in content.curves}
    for old in (
        set(stage.path("figures").glob("*")) - drawn
    ):  # of an earlier config: it must not look like a result of this one
        old.unlink()
    for old in set(stage.path("gallery").rglob("*.*")) - {stage.path(f"gallery/{name}") for name in in_gallery}:
        if old.is_file():
            old.unlink()
    pictures = [*sorted(f"figures/{path.name}" for path in drawn), *(f"gallery/{name}" for name in in_gallery)]
    stage.write_card(["index.html", *pictures])
    say(f"open {stage.path('index.html')}")


def _table(results: Path, name: str) -> TabulateSpec:
    spec = read_spec(results / f"tabulate/{name}/spec.yaml")
    assert isinstance(spec, TabulateSpec)
    return spec


def _figures(stage: Stage[ReportSpec], made: list[Block]) -> list[page.Picture]:
    """One picture per task, and the overview of all."""
    shown = [block for block in made if figures.has_samples(block)]
    if not shown:
        return []
    panels.save(figures.overview(shown, stage.results), stage.path("figures/overview.png"))
    return [_figure(stage, block) for block in shown]


def _figure(stage: Stage[ReportSpec], block: Block) -> page.Picture:
    path = stage.path(f"figures/{figures.slug(block)}.png")
    panels.save(figures.figure(block, stage.results, stage.spec.inputs, stage.spec.draw_inputs), path)
    models = ", ".join(line.label for line in block.lines if line.row.model not in ("input", "originals"))
    about = f"Rows: test images of different classes. Columns: the degraded input, the output of {models}, and the original."
    return page.Picture(path, f"{block.title} ({block.dataset})", about)


def _curves(stage: Stage[ReportSpec]) -> list[page.Picture]:
    """Training curves, as SVG for the page and as PNG."""
    logs = curves.curves(stage.spec.rows, stage.results)
    if not logs:
        return []
    drawn = curves.draw(logs)
    for ending in ("png", "svg"):
        curves.save(drawn, stage.path(f"figures/training.{ending}"))
    return [
        page.Picture(
            stage.path("figures/training.svg"), "Training loss", "Loss against optimizer step, one panel per model."
        )
    ]
