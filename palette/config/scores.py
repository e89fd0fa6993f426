"""Scores, and the tables and pages that show them."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from palette.config.choices import OneOf, rows
from palette.config.options import MOST, Count, Name, Options

PaperTable = Annotated[int, Field(ge=1, le=11)]
METRICS = rows("scoring/metrics.py", "METRICS") + rows("scoring/pixels.py", "PIXEL_METRICS")
EXTRACTORS = rows("scoring/extractors/*.py", "EXTRACTORS")
Metric = Annotated[str, OneOf(METRICS)]
ExtractorKind = Annotated[str, OneOf(EXTRACTORS)]


class PhotoClassifier(Options):
    """The classifier of the photographs, which stands in where no pretrained network is at hand.

    Its distances are called FD-photos, never FID.
    """

    steps: Count = 400
    """Training steps."""
    batch_size: int = Field(64, ge=2, le=MOST)
    """Images per step."""
    learning_rate: float = Field(2e-3, gt=0, le=10)
    """AdamW's peak, on a cosine schedule."""
    channels: int = Field(32, ge=8, le=8192)
    """Width of the first stage; the feature vector has four times as many entries."""


class Score(Options):
    extractors: tuple[ExtractorKind, ...] = Field(("photos",), min_length=1)
    """Networks that measure the images. All but `photos`, `pixels` and `ms-ssim` need weights; the last three need
    `palette-diffusion[scores]`.
    `photos`: a classifier of the dataset's own classes, of two or more. `pixels`: no network, but PSNR, SSIM and chroma alone, which
    the first of the others measures too. `inception`: the network of 2015 through clean-fid, which gives FID;
    `inception-legacy-tensorflow` and `inception-legacy-pytorch` are clean-fid's other modes.
    `resnet50`, `efficientnet-b0`: classification accuracy on ImageNet. `dinov2`: FD-DINOv2 (Stein et al. 2023).
    `lpips`, `ms-ssim`: likeness to the original, and between several draws."""
    photos: PhotoClassifier = PhotoClassifier()
    """How the `photos` classifier is trained."""
    weights: Path | None = None
    """Folder of pretrained weights; the environment variable PALETTE_WEIGHTS names it too."""
    shard_size: Count = 10_000
    """Test images per job that measures them, in whole sampling jobs. Changes no result."""
    download: bool = False
    """Download missing weights from their authors into that folder, when they are needed."""
    pd: Literal["euclidean", "squared"] = "euclidean"
    """The perceptual distance: Euclidean, or its square; the paper's wording says the one, its magnitudes the other."""
    is_splits: int = Field(10, ge=1, le=1000)
    """Splits of the Inception Score."""
    bootstrap: int = Field(200, ge=0, le=100_000)
    """Resamples behind the 95 % intervals."""


class Table(Options):
    title: str = ""
    """Heading of the table."""
    experiments: tuple[str, ...] = ("*",)
    """Which rows: names of experiments, or shell patterns over them."""
    columns: tuple[Metric, ...] = Field(("fd", "is", "ca", "pd", "psnr", "ssim", "chroma-ratio"), min_length=1)
    """Which scores, in order."""
    published: dict[Name, PaperTable] = {}
    """For each task, the table of the paper whose numbers stand beside ours."""
    paper: PaperTable | None = None
    """Lay it out as this table of the paper: its rows, in its order, with the numbers of other methods quoted, its columns, and
    under each number ours and the difference. Takes the place of `columns` and `published`."""
    models: dict[Name, str] = {}
    """With `paper`: which row of the paper a model of ours repeats, as `published.csv` calls it (`palette, L1`).
    Default: the row of the model's own name."""

    @model_validator(mode="after")
    def layout_is_given_once(self) -> Self:
        options = type(self).model_fields
        given = [name for name in ("columns", "published") if getattr(self, name) != options[name].default]
        if self.paper is not None and given:
            raise ValueError(f"`paper` has its own columns and numbers; leave out {' and '.join(given)}")
        if self.paper is None and not self.experiments:
            raise ValueError("`experiments` needs at least one entry; without any, a table has rows only with `paper`")
        if self.paper is None and self.models:
            raise ValueError("`models` goes with `paper`")
        return self


class Report(Options):
    title: str = "Palette"
    """Heading of the pages."""
    inputs: int = Field(4, ge=1, le=32)
    """Test images in each task's figure."""
    gallery_images: int = Field(1_000, ge=0, le=MOST)
    """Test images of each experiment in the gallery, the first ones; 0 makes no gallery."""
