"""Images: where they come from, and how they become the squares that are trained and tested on."""

from typing import Annotated, Literal, Self

from PIL import ImageColor
from pydantic import AfterValidator, Field, model_validator

from palette.config.options import MOST, Choice, Count, Folder, Name, Options, Seed, Share, Threads, table

Filter = Literal["lanczos", "bicubic", "bilinear", "box", "area", "nearest"]
PaperDataset = Literal["imagenet", "places2", "places2-top-50", "places2-scenery"]
Split = Literal["train", "test"]
Splits = dict[Split, str]


class DataFile(Options):
    """A file that others publish, or that a user has."""

    file: str = Field(pattern=r"^[^/\x00.][^/\x00]*$", max_length=200)
    """Its name on disk, without a folder."""
    urls: tuple[str, ...] = ()
    """Its address, then mirrors. None: it cannot be downloaded without asking, or at all."""
    bytes: int | None = Field(None, ge=1, le=10**15)
    """Its length, where it is known."""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """Its SHA-256. Without one it is checked by `md5`; without either, what the first download brought is kept to."""
    md5: str | None = Field(None, pattern="^[0-9a-f]{32}$")
    """Its MD5, where its publisher states only that."""
    split: Split | None = None
    """Whether its pictures are for training or for testing. Default: both, as `splits` or `prepare` choose."""


class KnownDataset(Options):
    """A published dataset: an entry of the registry."""

    title: str
    """What it is called in the report."""
    reader: Annotated[str, Choice("palette.data.sources.readers", "PUBLISHED")] = "archive"
    """How its files are read. `archive`: the first folder inside is the class. `torchvision`: by one of its classes."""
    files: tuple[DataFile, ...] = ()
    """What it is made of."""
    splits: Splits = {}
    """`archive` only: sub-folders or lists of training and test pictures."""
    torchvision: str | None = None
    """`torchvision` only: the name of its class in `torchvision.datasets`."""
    arguments: dict[Split, dict[str, str | bool]] = {}
    """`torchvision` only: what the class is called with, for each split."""
    images: dict[Split, Count] = {}
    """How many there are."""
    classes: Count = 1
    """How many classes."""
    version: str = ""
    """Which edition."""
    license: str = ""
    """Under which terms it may be used."""
    citation: str = ""
    """BibTeX."""
    homepage: str = ""
    """Where it is described."""
    by_hand: str = ""
    """How to get the files that nobody may download without asking."""

    @model_validator(mode="after")
    def torchvision_has_its_class(self) -> Self:
        if not (self.reader == "torchvision") == (self.torchvision is not None) == bool(self.arguments):
            raise ValueError("`torchvision` and `arguments` go with `reader: torchvision`, and only with it")
        return self


class Fetch(Options):
    source: Name = "photos"
    """`photos`: the photographs that scikit-image ships (public domain or CC0). `folder`: your own images.
    `pairs`: your own images, each with a condition from which it is to be generated. `archive`: tar, tar.gz or ZIP files of images.
    Or a published dataset: `palette datasets` lists them, and a `registry` in the config adds to them."""
    path: Folder | None = None
    """Where your files lie. `folder`, `pairs`: the folder of the images, read recursively; each sub-folder of it is a class.
    `archive`: the file, or with `files` the folder for them. A published dataset: the folder of its files, or where downloads go;
    default: a folder of its name in the one that the environment variable PALETTE_DATA names, or in `data` of the results."""
    conditions: Folder | None = None
    """`pairs` only: the folder of the conditions, of the same names as the images. Endings may differ."""
    splits: Splits = {}
    """`folder`, `archive`: which images are for training and which for testing. Each is a sub-folder, whose own sub-folders are the
    classes, or a text file (absolute, or in `path`) that lists images, one path a line: relative to `path`, or without `path`
    to the list."""
    files: tuple[DataFile, ...] = ()
    """`archive`: files to be downloaded. A published dataset: its files, if not those of the registry."""

    @model_validator(mode="after")
    def options_fit_the_source(self) -> Self:
        if not self.model_fields_set:  # the default, which is made while this module is still being imported
            return self
        if misfit := table("palette.data.sources.readers", "misfit")(self):
            raise ValueError(misfit)
        return self


def _ordered(values: tuple[float, float]) -> tuple[float, float]:
    if values[0] >= values[1]:
        raise ValueError("the value of black comes first, and is smaller than that of white")
    return values


ValueRange = Annotated[tuple[float, float], AfterValidator(_ordered)] | Literal["measured"]


class Conditions(Options):
    filter: Filter | None = None
    """How they are resized. Default: as the images. `nearest` makes no new values, as label maps need it."""
    range: ValueRange | None = None
    """Their values that are black and white, as `range` of the images, whose own does not count for them."""


def _color(name: str) -> str:
    ImageColor.getrgb(name)  # raises ValueError for what is no color
    return name


class Squares(Options):
    image_size: int = Field(64, ge=8, le=2048)
    """Side of the square images, in pixels."""
    train_images: int | None = Field(4096, ge=0, le=MOST)
    """Training crops (`photos`), or the number of images used for training (other sources); null: all that there are."""
    test_images: int = Field(256, ge=2, le=MOST)
    """Test crops or images. Never seen in training, not one pixel."""
    crop: Literal["centre", "random", "unscaled"] = "centre"
    """Of training pictures: the largest square in the middle; the largest square, somewhere [colorization]; or a square of
    `image_size` in the middle, without a change of scale. `photos` has crops of its own."""
    test_crop: Literal["centre", "unscaled"] = "centre"
    """The same of test pictures [inpainting: centre crops of 256 px]."""
    filter: Filter = "lanczos"
    """How squares are resized [not stated]. `box`: the mean of the pixels whose centers lie inside a new one; `area`: their mean
    weighted by area, as TensorFlow's. `nearest`: one of their pixels, so that no value is new."""
    range: ValueRange | None = None
    """Values of pictures of more than 8 bits that become black and white: `[0, 4095]`; `measured`: the smallest and the largest of
    the training images. Default: 0 and the largest of their type, and an error if some picture does not reach its upper half."""
    conditions: Conditions = Conditions()
    """`pairs` only: what is different for the conditions."""
    background: Annotated[str, AfterValidator(_color)] = "white"
    """Color under transparent pixels, by its CSS name or as `#rrggbb`."""
    gray: bool = False
    """Leave pictures without color in one channel in the stores; other projects may not read such stores. Training and
    scoring see three equal channels in any case."""
    duplicates: Literal["report", "drop"] = "report"
    """Training pictures that are also in the test set, or nearly: report them, or leave them out of training too."""
    seed: Seed = 0
    """Draws the crops, and the split of pictures that have none."""


class Prepare(Squares):
    test_list: Folder | None = None
    """File of names, one a line: the test images are its first `test_images`, in its order. A name is a picture's path in
    the dataset, or the end of it, with or without its ending."""
    bad_limit: Share = 0.001
    """Share of the dataset's files that may be bad; with more, the run stops. A single one never stops it, unless this is 0."""
    strict: bool = False
    """Stop at the first bad file."""


class Dataset(Options):
    fetch: Fetch = Fetch()
    """Where the original images come from."""
    prepare: Prepare = Prepare()
    """How they become square images of one size, in a training and a test store."""
    threads: Threads = 2
    """CPU cores asked of Snakemake for fetching, and for preparing. Their number changes no byte."""
    reference: Name | None = None
    """Dataset whose test images FD, KID, precision and recall compare with. Default: this one's own, the originals.
    The paper compares 10,000 restored images with all 50,000 originals of the validation set."""
    published: PaperDataset | None = None
    """Which images of the paper's tables these are, so that its numbers stand beside those measured on them.
    Default: other images than the paper's, with which no difference is worked out."""

    @model_validator(mode="after")
    def conditions_go_with_pairs(self) -> Self:
        if self.fetch.source != "pairs" and self.prepare.conditions != Conditions():
            raise ValueError(f"`conditions` of `prepare` goes with `source: pairs`, not with {self.fetch.source}")
        return self
