"""Prepare stage: turn the originals into square images of one size, in training and test stores that share no pixel."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import compress, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palette.config.datasets import Filter, Split, Squares
from palette.data.images.crops import Crop, photo_crops, square
from palette.data.images.depth import Range
from palette.data.images.lookalikes import Looks, look
from palette.data.images.pictures import UNREADABLE, Picture, cut_square, read_picture
from palette.data.images.ranges import ranges
from palette.data.prepared import PARTS, BadFiles, losses, summary
from palette.data.selection import Selection, select
from palette.data.sources.manifest import Entry, Manifest, Opener
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
STORES = (*SPLITS, *(f"{split}-conditions" for split in SPLITS))


def run(stage: "Stage[PrepareSpec]") -> None:
    """Write `train.zip`, `test.zip`, their condition stores (empty unless the dataset is paired) and `prepare.json`.

    Work in progress is kept in `.parts`, from which a killed run resumes; a file under its final name is always
    complete. A second process waits for the first to finish and uses its results.
    """
    manifest = Manifest.read(stage.parent("fetch", "manifest.jsonl"))
    refuse_few_classes(manifest, stage.spec.runtime.classes)
    waiting = f"{stage.path('')}: another process is preparing this; waiting for it."
    with held(stage.path(f"{PARTS}.lock"), waiting) as waited:
        if waited and stage.path("card.json").exists():
            return
        for name in ("card.json", "prepare.json", *(f"{store}.zip" for store in STORES)):
            stage.path(name).unlink(missing_ok=True)
        folder = stage.path(PARTS)
        folder.mkdir(exist_ok=True)
        with ExitStack() as files:
            facts = Work(stage, manifest, folder, files).make()
        for store in STORES:
            publish(folder / f"{store}.zip", stage.path(f"{store}.zip"))
        write_json(stage.path("prepare.json"), facts)
        images = [facts[split]["images"] for split in ("train", "test")]
        stage.write_card([*(f"{store}.zip" for store in STORES), "prepare.json"], images=images)
        shutil.rmtree(folder)


def refuse_few_classes(manifest: Manifest, needed: int) -> None:
    """Raise DataError if there are fewer classes than the scores need, before any training starts."""
    if len(manifest.classes) < needed:
        raise DataError(
            f"{manifest.path}: {len(manifest.classes)} classes, and `score.extractors` asks for one that needs {needed}. Sort the "
            "images into one sub-folder per class, or take `extractors: [pixels]`, which needs neither classes nor weights."
        )


def publish(part: Path, path: Path) -> None:
    """Give a finished store its final name. With hard links, the work folder keeps its copy until the stage is done."""
    try:
        os.link(part, path)
    except OSError:
        part.replace(path)


@dataclass(frozen=True)
class Chosen:
    """Crops of each split: a function that yields them from the first one on, and their number.

    selection: that of the pictures, None for the built-in photographs.
    """

    crops: Callable[[Split], Iterator[Crop]]
    counts: Mapping[Split, int]
    selection: Selection | None = None


def choose(manifest: Manifest, spec: "PrepareSpec") -> Chosen:
    """Return crops of the built-in photographs, or one crop of each selected picture.

    Test images are in their own order, training images in the manifest's order, in which archives are read fastest.
    """
    options = spec.prepare
    if manifest.source == "photos":
        photos = list(manifest.images())
        assert options.train_images is not None
        counts: dict[Split, int] = {"train": options.train_images, "test": options.test_images}
        return Chosen(lambda split: photo_crops(photos, options, split, counts[split]), counts)
    selection = select(manifest, options, spec.runtime.test_list)
    tests = list(selection.test_entries(manifest.images()))
    labels = {name: label for label, name in enumerate(manifest.classes)}

    def crops(split: Split) -> Iterator[Crop]:
        pictures = tests if split == "test" else compress(manifest.images(), selection.train)
        return (Crop(picture, labels[picture["class"]], square(picture, options, split)) for picture in pictures)

    return Chosen(crops, {"train": int(selection.train.sum()), "test": len(tests)}, selection)


@dataclass(frozen=True)
class Processed:
    """Result of one crop: the image as PNG, or the `reason` why there is none.

    look: perceptual hash of the picture, None if it is not compared.
    """

    crop: Crop
    facts: dict[str, Any] = field(default_factory=dict)
    png: bytes | None = None
    look: int | None = None
    reason: str = ""


class Processor:
    """Function crop → image, safe to call from several threads: each image depends on its crop alone.

    filter_, value_range: those of the images, or of the conditions.
    """

    def __init__(self, manifest: Manifest, options: Squares, filter_: Filter, value_range: Range | None) -> None:
        self.open, self.options = Opener(manifest.containers), options
        self.filter, self.range = filter_, value_range
        self.compares = manifest.source != "photos"  # whose splits are parts of the same pictures
        self.photos: dict[str, Picture] = {}

    def __call__(self, crop: Crop) -> Processed:
        try:
            picture = self.photos.get(crop.picture["sha256"]) or self.read(crop.picture)
        except DataError as error:
            return Processed(crop, reason=str(error))
        except UNREADABLE as error:
            return Processed(crop, reason=f"damaged or not supported ({error})")
        size, facts = self.options.image_size, crop.facts()
        converted = [*picture.converted, *(["enlarged"] if crop.box[2] - crop.box[0] < size else [])]
        if converted:
            facts["converted"] = converted
        png = encode(cut_square(picture.pixels, crop.box, size, self.filter))
        if not self.compares:
            return Processed(crop, facts, png)
        bits = look(picture.pixels)
        return Processed(crop, facts | {"look": f"{bits:016x}"}, png, bits)

    def read(self, entry: Entry) -> Picture:
        options = self.options
        picture = read_picture(self.open(entry), entry["file"], options.background, options.gray, self.range)
        if not self.compares:  # few pictures, each with many crops
            self.photos[entry["sha256"]] = picture
        return picture


@dataclass
class Work:
    """Construction of all stores of a stage, or of the rest of them after an interruption."""

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
        chosen = choose(self.manifest, self.stage.spec)
        options, paired = self.stage.spec.prepare, self.manifest.source == "pairs"
        value_ranges = ranges(options, self.manifest, lambda: (crop.picture for crop in chosen.crops("train")))
        process = Processor(self.manifest, options, options.filter, value_ranges.images)
        images = {split: self.images(split, chosen.crops(split), chosen.counts[split], process) for split in SPLITS}
        filter_ = options.conditions.filter or options.filter
        process = Processor(self.manifest, options, filter_, value_ranges.conditions)
        conditions = {
            split: self.conditions(split, chosen.crops(split) if paired else iter(()), images[split], process)
            for split in SPLITS
        }
        if self.bad.count:
            say(f"{self.bad.place}: {self.bad.count} of {self.bad.total} files left out:{self.bad.lines}")
        stores = (images, conditions if paired else {})
        facts = summary(self.manifest, options, value_ranges, *stores, self.bad, chosen.selection)
        if lost := losses(facts):
            say(f"{self.bad.place}: conversions to 8-bit RGB with losses: {lost}")
        return facts

    def images(self, split: Split, crops: Iterator[Crop], count: int, process: Processor) -> StoreWriter:
        writer = self.writer(split)
        for line in writer.lines():
            self.remember(split, line.content)
        for result in self.results(split, crops, count, writer, process):
            self.add(split, result, writer)
        writer.finish()
        return writer

    def conditions(self, split: Split, crops: Iterator[Crop], images: StoreWriter, process: Processor) -> StoreWriter:
        """Make the store of the conditions of a split's images, with the same names and order; empty without crops."""
        stored = [line.place is not None for line in images.lines()]
        name = f"{split}-conditions"
        writer = self.writer(name)
        counterparts = (crop.condition() for crop in compress(crops, stored))
        for result in self.results(name, counterparts, images.images, writer, process):
            if result.png is None:
                raise DataError(f"{result.crop.picture['file']}: {result.reason}. It is the condition of an image.")
            writer.add(image_name(writer.images), result.png, result.crop.label, result.facts)
        writer.finish()
        return writer

    def writer(self, name: str) -> StoreWriter:
        """Open the store `name`, with whatever an earlier run has written to it."""
        store, journal = (self.folder / f"{name}.{ending}" for ending in ("zip", "jsonl"))
        for path in (store, journal):
            path.touch()
        file, lines = (self.files.enter_context(path.open("r+b")) for path in (store, journal))
        return StoreWriter(file, lines, self.manifest.classes)

    def results(
        self, name: str, crops: Iterator[Crop], count: int, writer: StoreWriter, process: Processor
    ) -> Iterator[Processed]:
        """Yield the results of the crops that the store does not contain yet."""
        title = f"prepare {self.stage.spec.name} {name}"
        if writer.items:
            say(f"{title}: going on after {writer.items} of {count} images")
        progress = Progress(title, count, "images", start=writer.items)
        for result in ordered(process, islice(crops, writer.items, None), self.stage.spec.runtime.threads):
            yield result
            progress.advance()

    def add(self, split: Split, result: Processed, writer: StoreWriter) -> None:
        """Append an image to its store, or the reason why there is none; raise DataError if it is a test image."""
        facts, file = result.facts, result.crop.picture["file"]
        if result.png is None:
            if split == "test":
                raise DataError(f"{file}: {result.reason}. It is a test image, and every one of them counts.")
            facts = {"file": file, "reason": result.reason}
            writer.leave_out(facts)
            self.remember(split, facts)
            return
        like = self.like(result) if split == "train" else None
        if like:
            facts = facts | {"like": like}
        if like and self.stage.spec.prepare.duplicates == "drop":
            writer.leave_out(facts)
        else:
            writer.add(image_name(writer.images), result.png, result.crop.label, facts)
            self.remember(split, facts)

    def like(self, result: Processed) -> dict[str, Any] | None:
        """Return the test image that a training picture equals or resembles, or None.

        Fields: its index, the number of differing bits of the hashes, and whether the files are equal.
        """
        near = None if result.look is None else self.looks.nearest(result.look, result.crop.picture["sha256"])
        return None if near is None else dict(zip(("test", "bits", "equal"), near, strict=True))

    def remember(self, split: Split, facts: dict[str, Any]) -> None:
        """Record a journal line, new or old: count a bad file, or keep a test image's hash for later comparisons."""
        if "reason" in facts:
            self.bad.add(facts["file"], facts["reason"])
        elif split == "test" and "look" in facts:
            self.looks.add(int(facts["look"], 16), facts["sha256"])
