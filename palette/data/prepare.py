"""Prepare stage: turn the originals into square images of one size, in training and test stores that share no pixel."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import compress, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palette.config.datasets import Filter, Squares
from palette.data.bad_files import BadFiles
from palette.data.images.crops import Crop, Split, photo_crops, square
from palette.data.images.depth import Range
from palette.data.images.lookalikes import Looks, look
from palette.data.images.pictures import UNREADABLE, Picture, cut_square, read_picture
from palette.data.images.ranges import ranges
from palette.data.prepared import PARTS, Noticed, losses, summary
from palette.data.selection import select
from palette.data.sources.manifest import Entry, Manifest, opener
from palette.data.store.store import encode, image_name
from palette.data.store.writer import StoreWriter
from palette.errors import DataError
from palette.system.files import write_json
from palette.system.locks import held
from palette.system.parallel import ordered
from palette.system.progress import Progress, say

if TYPE_CHECKING:
    from palette.stages.prepare import PrepareSpec
    from palette.stages.stage import Stage

SPLITS: tuple[Split, ...] = ("test", "train")
"""Splits in the order in which they are made: training pictures are compared with the test images."""


def run(stage: "Stage[PrepareSpec]") -> None:
    """Write `train.zip`, `test.zip`, their condition stores (empty unless the dataset is paired) and `prepare.json`.

    Work in progress is kept in `.parts`, from which a killed run resumes; a file under its final name is always
    complete. A second process waits for the first to finish and uses its results.
    """
    manifest = Manifest.read(stage.parent("fetch", "manifest.jsonl"))
    refuse_few_classes(manifest, stage.spec.runtime.classes)
    stores = [*SPLITS, *(f"{split}-conditions" for split in SPLITS)]
    waiting = f"{stage.path('')}: another process is preparing this; waiting for it."
    with held(stage.path(f"{PARTS}.lock"), waiting) as waited:
        if waited and stage.path("card.json").exists():
            return
        for name in ("card.json", "prepare.json", *(f"{store}.zip" for store in stores)):
            stage.path(name).unlink(missing_ok=True)
        folder = stage.path(PARTS)
        folder.mkdir(exist_ok=True)
        with ExitStack() as files:
            facts = Work(stage, manifest, folder, files).make()
        for store in stores:
            publish(folder / f"{store}.zip", stage.path(f"{store}.zip"))
        write_json(stage.path("prepare.json"), facts)
        images = [facts[split]["images"] for split in ("train", "test")]
        stage.write_card([*(f"{store}.zip" for store in stores), "prepare.json"], images=images)
        shutil.rmtree(folder)


def refuse_few_classes(manifest: Manifest, needed: int) -> None:
    """Raise DataError if there are fewer classes than the scores need, before any training starts."""
    if len(manifest.classes) < needed:
        raise DataError(
            f"{manifest.path}: {len(manifest.classes)} classes, and `score.extractors` asks for one that needs {needed}. Sort the "
            "images into one sub-folder per class, or take `extractors: [pixels]`, which needs neither classes nor weights."
        )


def publish(part: Path, path: Path) -> None:
    """Give a finished store its final name.

    Where the disk has hard links, the copy in the work folder is kept until the stage is done.
    """
    try:
        os.link(part, path)
    except OSError:
        part.replace(path)


# ------------------------------------------------------------------------------------- selection of crops


@dataclass(frozen=True)
class Chosen:
    """Crops selected for each split.

    crops: function that yields a split's crops, from the first one on at every call. counts: number of crops in each
    split. noticed: observations made during the selection.
    """

    crops: Callable[[Split], Iterator[Crop]]
    counts: Mapping[Split, int]
    noticed: Noticed = field(default_factory=Noticed)


def of_photos(manifest: Manifest, spec: "PrepareSpec") -> Chosen:
    """Return the crops of the built-in photographs."""
    pictures, options = list(manifest.images()), spec.prepare
    assert options.train_images is not None
    counts: dict[Split, int] = {"train": options.train_images, "test": options.test_images}
    return Chosen(lambda split: photo_crops(pictures, options, split, counts[split]), counts)


def of_pictures(manifest: Manifest, spec: "PrepareSpec") -> Chosen:
    """Return one crop of each selected picture.

    Test images are in their own order, training images in the manifest's order, in which archives are read fastest.
    """
    options = spec.prepare
    chosen = select(manifest, options, spec.runtime.test_list)
    tests = list(chosen.test_entries(manifest.images()))
    labels = {name: label for label, name in enumerate(manifest.classes)}

    def crops(split: Split) -> Iterator[Crop]:
        pictures = tests if split == "test" else compress(manifest.images(), chosen.train)
        return (Crop(picture, labels[picture["class"]], square(picture, options, split)) for picture in pictures)

    counts: dict[Split, int] = {"train": int(chosen.train.sum()), "test": len(tests)}
    return Chosen(crops, counts, Noticed(chosen.copies, chosen.same_names))


# ------------------------------------------------------------------------------------------------ single images


@dataclass(frozen=True)
class Made:
    """Result of processing one crop.

    png: the image; None if it could not be made, with the `reason`. look: perceptual hash of the source picture, None
    if it is not compared.
    """

    crop: Crop
    facts: dict[str, Any]
    png: bytes | None = None
    look: int | None = None
    reason: str = ""


class Maker:
    """Function crop → image, safe to call from several threads: each image depends on its crop alone.

    filter_, value_range: those of the images, or of the conditions.
    """

    def __init__(self, manifest: Manifest, options: Squares, filter_: Filter, value_range: Range | None) -> None:
        self.open, self.options = opener(manifest), options
        self.filter, self.range = filter_, value_range
        self.compares = manifest.source != "photos"  # whose splits are parts of the same pictures
        self.kept: dict[str, Picture] = {}

    def __call__(self, crop: Crop) -> Made:
        try:
            picture = self.kept.get(crop.picture["sha256"]) or self.read(crop.picture)
        except DataError as error:
            return Made(crop, {}, reason=str(error))
        except UNREADABLE as error:
            return Made(crop, {}, reason=f"damaged or not supported ({error})")
        size = self.options.image_size
        converted = [*picture.converted, *(["enlarged"] if crop.box[2] - crop.box[0] < size else [])]
        png = encode(cut_square(picture.pixels, crop.box, size, self.filter))
        facts = crop.facts() | ({"converted": converted} if converted else {})
        bits = look(picture.pixels) if self.compares else None
        return Made(crop, facts if bits is None else facts | {"look": f"{bits:016x}"}, png, bits)

    def read(self, entry: Entry) -> Picture:
        options = self.options
        picture = read_picture(self.open(entry), entry["file"], options.background, options.gray, self.range)
        if not self.compares:  # few pictures, each with many crops
            self.kept[entry["sha256"]] = picture
        return picture


# ------------------------------------------------------------------------------------------------ all images


@dataclass
class Work:
    """Construction of all stores of a stage."""

    stage: "Stage[PrepareSpec]"
    manifest: Manifest
    folder: Path
    files: ExitStack
    bad: BadFiles = field(init=False)
    looks: Looks = field(default_factory=Looks)

    def __post_init__(self) -> None:
        spec, header = self.stage.spec, self.manifest.header
        total = header["images"] + header["rejected"]
        self.bad = BadFiles(f"prepare {spec.name}", total, spec.runtime.bad_limit, spec.runtime.strict)
        self.bad.add_rejected(self.manifest.rejected())

    def make(self) -> dict[str, Any]:
        """Make every store, or the rest of it after an interruption; return the content of `prepare.json`."""
        chosen = (of_photos if self.manifest.source == "photos" else of_pictures)(self.manifest, self.stage.spec)
        options, paired = self.stage.spec.prepare, self.manifest.source == "pairs"
        found = ranges(options, self.manifest, lambda: (crop.picture for crop in chosen.crops("train")))
        maker = Maker(self.manifest, options, options.filter, found.images)
        writers = {split: self.split(split, chosen.crops(split), chosen.counts[split], maker) for split in SPLITS}
        maker = Maker(self.manifest, options, options.conditions.filter or options.filter, found.conditions)
        conditions = {
            split: self.conditions(split, chosen.crops(split) if paired else iter(()), writers[split], maker)
            for split in SPLITS
        }
        if self.bad.count:
            say(f"{self.bad.place}: {self.bad.count} of {self.bad.total} files left out:{self.bad.shown}")
        facts = summary(self.manifest, options, found, writers, conditions if paired else {}, self.bad, chosen.noticed)
        if lost := losses(facts):
            say(f"{self.bad.place}: conversions to 8-bit RGB with losses: {lost}")
        return facts

    def writer(self, name: str) -> StoreWriter:
        """Open the store `name`, with whatever an earlier run has written to it."""
        store, journal = (self.folder / f"{name}.{ending}" for ending in ("zip", "jsonl"))
        for path in (store, journal):
            path.touch()
        file, lines = (self.files.enter_context(path.open("r+b")) for path in (store, journal))
        return StoreWriter(file, lines, self.manifest.classes)

    def split(self, split: Split, crops: Iterator[Crop], count: int, maker: Maker) -> StoreWriter:
        """Make the store of a split."""
        writer = self.writer(split)
        for line in writer.lines():
            self.remember(split, line.content)
        for made in self.made(split, crops, count, writer, maker):
            self.add(split, made, writer)
        writer.finish()
        writer.save()
        return writer

    def made(self, name: str, crops: Iterator[Crop], count: int, writer: StoreWriter, maker: Maker) -> Iterator[Made]:
        """Yield the results of the crops that the store does not contain yet."""
        if writer.items:
            say(f"prepare {self.stage.spec.name} {name}: going on after {writer.items} of {count} images")
        progress = Progress(f"prepare {self.stage.spec.name} {name}", count, "images", start=writer.items)
        for made in ordered(maker, islice(crops, writer.items, None), self.stage.spec.runtime.threads):
            yield made
            progress.advance()

    def add(self, split: Split, made: Made, writer: StoreWriter) -> None:
        """Append an image to its store, or the reason why it could not be made.

        Raises DataError for a test image that failed.
        """
        if made.png is None:
            if split == "test":
                raise DataError(
                    f"{made.crop.picture['file']}: {made.reason}. It is a test image, and every one of them counts."
                )
            left_out = {"file": made.crop.picture["file"], "reason": made.reason}
            writer.leave_out(left_out)
            self.remember(split, left_out)
            return
        facts, like = made.facts, self.like(made) if split == "train" else None
        if like:
            facts = facts | {"like": like}
        if like and self.stage.spec.prepare.duplicates == "drop":
            writer.leave_out(facts)
        else:
            writer.add(image_name(writer.images), made.png, made.crop.label, facts)
            self.remember(split, facts)

    def like(self, made: Made) -> dict[str, Any] | None:
        """Return the test image that a training picture equals or resembles, or None.

        Fields: its index (`test`), the number of differing hash bits (`bits`), and whether the files are equal
        (`equal`).
        """
        found = None if made.look is None else self.looks.nearest(made.look, made.crop.picture["sha256"])
        return None if found is None else {"test": found[0], "bits": found[1], "equal": found[2]}

    def remember(self, split: Split, facts: dict[str, Any]) -> None:
        """Record a journal line, new or old: count a bad file, or keep a test image's hash for later comparisons."""
        if "reason" in facts:
            self.bad.add(facts["file"], facts["reason"])
        elif split == "test" and "look" in facts:
            self.looks.add(int(facts["look"], 16), facts["sha256"])

    def conditions(self, split: Split, crops: Iterator[Crop], images: StoreWriter, maker: Maker) -> StoreWriter:
        """Make the store of the conditions of a split's images, with the same names and order; empty without crops."""
        kept = [line.place is not None for line in images.lines()]
        writer = self.writer(f"{split}-conditions")
        found = (crop.condition() for crop in compress(crops, kept))
        for made in self.made(f"{split}-conditions", found, images.images, writer, maker):
            if made.png is None:
                raise DataError(f"{made.crop.picture['file']}: {made.reason}. It is the condition of an image.")
            writer.add(image_name(writer.images), made.png, made.crop.label, made.facts)
        writer.finish()
        writer.save()
        return writer
