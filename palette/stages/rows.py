"""Rows of tables and pages, and the names of their images."""

from collections.abc import Sequence
from typing import Any

from palette.config.datasets import PaperDataset
from palette.config.options import Options
from palette.config.sampling import BASELINES
from palette.config.tasks import Degradation
from palette.data.tasks import title

LABELS = {"input": "degraded input", "originals": "original images"}


class Row(Options):
    """One experiment, as it appears in tables and pages."""

    experiment: str
    dataset: str
    task: str | None
    degradation: Degradation | None
    condition: str | None
    """Evaluation mask, or strength of the degradation."""
    model: str
    sampler: str | None
    evaluations: int | None
    """NFE per image; None for rows without a network."""
    seed: int
    steps: int | None = None
    """Optimizer steps of its training, if they are not the model's own."""
    score: str
    """Folder of the score stage."""
    sample: str | None = None
    """Folder of the sample stage; None for the originals."""
    train: str | None = None
    """Folder of the train stage, or of the released model in its place."""
    prepare: str
    """Folder of the prepare stage."""
    mask: str | None = None
    """Folder of the mask stage."""

    @property
    def title(self) -> str:
        """Title of its test: `Inpainting, mask center`."""
        return title(self.degradation, self.condition)

    @property
    def label(self) -> str:
        """Label within its test: `palette, dpm20`."""
        return ", ".join(filter(None, [LABELS.get(self.model, self.model), self.sampler, self.milestone]))

    @property
    def baseline(self) -> bool:
        """True if nothing was trained for it: the input, the originals."""
        return self.model in BASELINES

    @property
    def training(self) -> str | None:
        """Folder of the train stage if the model is trained here, else None."""
        return self.train if self.train and self.train.startswith("train/") else None

    @property
    def milestone(self) -> str | None:
        """`at step 100` if the row's steps are not the model's own, else None."""
        return f"at step {self.steps}" if self.steps else None


class Evaluated(Options):
    """Dataset, as it appears in tables."""

    published: PaperDataset | None
    """Its name in the paper's tables; None: the images are not the paper's."""
    image_size: int
    images: int
    """Number of test images."""
    reference_images: int | None
    """Number of images that FID compares with; None: the originals of the test images."""


def compared(rows: Sequence[Row], fields: Sequence[str]) -> list[list[Row]]:
    """Return groups of two or more trained rows that differ in `fields`, and otherwise at most in their seed."""
    fixed = [name for name in ("dataset", "task", "model", "sampler", "steps") if name not in fields]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row.train:
            groups.setdefault(tuple(getattr(row, name) for name in fixed), []).append(row)
    return [g for g in groups.values() if len({tuple(getattr(row, name) for name in fields) for row in g}) > 1]


PLOTS = {"steps": ("steps",), "evaluations": ("sampler",), "cost": ("model", "sampler", "steps")}
"""Plot → the fields in which the rows that it compares differ."""


class GalleryImages(Options):
    """Test images of one dataset that the gallery shows, and their layout in sheets."""

    images: int
    size: int
    """Side of an image, in pixels."""

    @property
    def across(self) -> int:
        """Images in a row of a sheet. With as many rows, a sheet is a square of at most 2048 pixels, or one image."""
        return max(1, min(16, 2048 // self.size))

    @property
    def sheets(self) -> int:
        return -(-self.images // self.across**2)


def picture_sets(row: Row) -> dict[str, str]:
    """Return the images that the gallery has of a row: `input`, `output`, `original` → name of a set of sheets.

    Rows share what is the same: a dataset's originals, a task's inputs. The row of the model `input` has them as its
    output.
    """
    inputs, originals = f"inputs/{row.dataset}/{row.task}", f"originals/{row.dataset}"
    if row.sample is None:
        return {"original": originals}
    if row.model == "input":
        return {"output": inputs, "original": originals}
    return {"input": inputs, "output": f"outputs/{row.experiment}", "original": originals}


def sheet_name(pictures: str, number: int) -> str:
    """Return the file name of a sheet, `outputs/photos-jpeg-palette-s0-000.png`."""
    return f"{pictures}-{number:03}.png"
