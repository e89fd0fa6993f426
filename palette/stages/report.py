"""Draw the figures and the page that shows everything.

Example: python -m palette report -c results/report/spec.yaml
"""

from pydantic import Field

from palette.stages.base import Planned, Spec, Usual, Work
from palette.stages.rows import PLOTS, GalleryImages, Row, compared, picture_sets, sheet_name
from palette.stages.stage import Stage


class ReportSpec(Spec):
    """Report: tables, samples and training logs → figures, `gallery/` and `index.html`."""

    kind = "report"
    verb = "report"
    keeps_old = False
    reads = ("tabulate", "score", "sample", "train", "prepare", "mask")
    usual = Usual(memory_gb=16, hours=2)
    options = {
        "": "report",
        "rows": "experiments",
        "tables": "tables",
        "draw_inputs": "sample.draw_inputs",
    }
    title: str
    inputs: int
    draws: int
    """Samples per input."""
    draw_inputs: int
    """Number of test images with several draws, which are the first ones."""
    tables: dict[str, str]
    """Table → hash of its tabulate stage, whose folder name has none."""
    rows: tuple[Row, ...]
    gallery: dict[str, GalleryImages] = Field(default_factory=dict)
    """Dataset → its test images in the gallery; empty for no gallery."""

    @property
    def awaited(self) -> list[str]:
        folders = [folder for row in self.rows for folder in (row.score, row.train, row.prepare, row.mask)]
        samples = [row.sample for row in self.rows]
        return list(dict.fromkeys(filter(None, [*(f"tabulate/{table}" for table in self.tables), *folders, *samples])))

    @property
    def artifacts(self) -> tuple[str, ...]:
        pictures = (*(f"figures/{name}" for name in self.figures), *(f"gallery/{name}" for name in self.gallery_files))
        return ("index.html", *pictures)

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures.

        For each dataset and task with a trained model: its panels, several samples, and failures. Also their overview,
        the training curves, the plots that have rows to compare, and the masks.
        """
        trained = [row for row in self.rows if row.train]
        tests = dict.fromkeys(f"{row.dataset}-{row.task}.png" for row in trained)
        drawn = dict.fromkeys(f"{row.dataset}-{row.task}.png" for row in trained if row.sampler and self.draws > 1)
        made = (*tests, *(f"draws/{name}" for name in drawn), *(f"failures/{name}" for name in tests))
        curves = ("training.svg",) if any(row.training for row in trained) else ()
        plots = [f"{name}.svg" for name, fields in PLOTS.items() if compared(self.rows, fields)]
        return (*made, *(("overview.png", *curves, *plots) if tests else ()), *self.mask_sheets)

    @property
    def mask_sheets(self) -> dict[str, Row]:
        """Figures of evaluation masks: name → a row that is evaluated with them."""
        return {f"masks-{row.dataset}-{row.condition}.png": row for row in reversed(self.rows) if row.mask}

    @property
    def gallery_sets(self) -> dict[str, GalleryImages]:
        """Sets of images in the gallery, by name."""
        rows = [row for row in self.rows if row.dataset in self.gallery]
        return {name: self.gallery[row.dataset] for row in rows for name in picture_sets(row).values()}

    @property
    def gallery_files(self) -> tuple[str, ...]:
        """Names of the gallery's files; none if it shows nothing."""
        sheets = [sheet_name(name, n) for name, images in self.gallery_sets.items() for n in range(images.sheets)]
        return ("index.html", "preview.html", *sheets) if sheets else ()

    def work(self, planned: Planned, shard: str | None = None) -> Work:
        pixels = {name: images.images * images.size**2 for name, images in self.gallery_sets.items()}
        count = sum(images.images for images in self.gallery_sets.values())
        return Work(images=count, megapixels=sum(pixels.values()) / max(count, 1) / 1e6, bytes=3 * sum(pixels.values()))


def run(stage: Stage[ReportSpec]) -> None:
    """Draw everything and write the page last."""
    from palette.publish.pages import draw

    draw.run(stage)
