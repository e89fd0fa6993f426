"""prepare: the originals become square images of one size, in a training and a test store without a shared pixel."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image

from palette.config import Prepare
from palette.data.crops import around, draw_crop
from palette.data.manifest import Entry, Manifest, opener
from palette.data.parallel import ordered
from palette.data.photos import Box
from palette.data.pictures import FILTER, centre_square, cut_square, decode_picture
from palette.data.randomness import generator
from palette.data.store import StoredImage, image_name, write_store
from palette.errors import DataError
from palette.files import write_json
from palette.progress import track
from palette.spec import PrepareSpec
from palette.stage import Stage

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Crop:
    """A square of a picture: the picture's entry in the fetch manifest, its class as a label, and the square."""

    picture: dict[str, Any]
    label: int
    box: Box

    def facts(self) -> dict[str, Any]:
        """What the store's manifest says of it."""
        return {
            "file": self.picture["file"],
            "sha256": self.picture["sha256"],
            "size": self.picture["size"],
            "box": list(self.box),
        }

    def identity(self) -> list[Any]:
        """Equal lists are equal images, and equal conditions of them."""
        conditions = [self.picture["condition"]["sha256"]] if "condition" in self.picture else []
        return [self.picture["sha256"], self.box, self.label, *conditions]

    def condition(self) -> "Crop":
        """The same square of the picture's condition, which may be of another scale."""
        picture = self.picture["condition"]
        return Crop(picture, self.label, centre_square(*picture["size"]))


def run(stage: Stage[PrepareSpec]) -> None:
    """Write `train.zip`, `test.zip` and `prepare.json`; of pairs, `train-conditions.zip` and `test-conditions.zip` too."""
    manifest = Manifest.read(stage.parent("fetch", "manifest.jsonl"))
    options = stage.spec.prepare
    crops = (plan_photos if manifest.source == "photos" else plan_folder)(manifest, options)
    read = reader(manifest, keep=manifest.source == "photos")
    stores = {split: crops[split] for split in SPLITS}
    if manifest.source == "pairs":
        stores |= {f"{split}-conditions": [crop.condition() for crop in crops[split]] for split in SPLITS}
    for name, cut in stores.items():
        write_images(stage, name, cut, read, manifest.classes)
    write_json(stage.path("prepare.json"), summary(manifest, options, crops))
    stage.write_card([*(f"{name}.zip" for name in stores), "prepare.json"], images=[len(crops[s]) for s in SPLITS])


# -------------------------------------------------------------------------------------- which crops there are


def plan_photos(manifest: Manifest, options: Prepare) -> dict[str, list[Crop]]:
    """Random crops by split, from the test box of each photograph and from the rest; the photographs take turns."""
    pictures = list(manifest.images())
    counts = {"train": options.train_images, "test": options.test_images}

    def crop(split: str, index: int) -> Crop:
        label = index % len(pictures)
        random = generator(options.seed, "crop", split, index)
        return Crop(pictures[label], label, draw_crop(regions(pictures[label])[split], options.image_size, random))

    return {split: [crop(split, index) for index in range(counts[split])] for split in SPLITS}


def regions(picture: dict[str, Any]) -> dict[str, list[Box]]:
    """The boxes of a photograph that each split may be cut from."""
    (width, height), (left, top, right, bottom) = picture["size"], picture["test_box"]
    test = (left, top, right, bottom)
    return {"train": around(width, height, test), "test": [test]}


def plan_folder(manifest: Manifest, options: Prepare) -> dict[str, list[Crop]]:
    """The middle squares of different pictures by split, the dataset's own where it has one. Of equal files only the first counts."""
    pictures: dict[str, Entry] = {}
    for picture in manifest.images():
        pictures.setdefault(picture["sha256"], picture)
    labels = {name: label for label, name in enumerate(manifest.classes)}
    chosen = own_split(manifest, options, pictures) or random_split(manifest, options, pictures)
    return {
        split: [Crop(p, labels[p["class"]], centre_square(*p["size"])) for p in chosen[split]]
        for split in reversed(SPLITS)
    }


def own_split(manifest: Manifest, options: Prepare, pictures: dict[str, Entry]) -> dict[str, list[Entry]] | None:
    """Random pictures from the training and the test images that the dataset itself names; None if it names none."""
    if not any("split" in picture for picture in pictures.values()):
        return None
    chosen = {}
    for split, needed in (("train", options.train_images), ("test", options.test_images)):
        hashes = sorted(digest for digest, picture in pictures.items() if picture.get("split") == split)
        _refuse_too_few(manifest, len(hashes), needed, f"{split} images of its own split", f"`{split}_images`")
        order = generator(options.seed, "split", split).permutation(len(hashes))
        chosen[split] = [pictures[hashes[position]] for position in order[:needed]]
    return chosen


def random_split(manifest: Manifest, options: Prepare, pictures: dict[str, Entry]) -> dict[str, list[Entry]]:
    """Random pictures for testing, and others for training."""
    asked = f"pictures for {options.train_images} training and {options.test_images} test images"
    _refuse_too_few(manifest, len(pictures), options.train_images + options.test_images, asked, "one of them")
    order = generator(options.seed, "split").permutation(len(pictures))
    hashes = sorted(pictures)
    chosen = [pictures[hashes[position]] for position in order[: options.train_images + options.test_images]]
    return {"test": chosen[: options.test_images], "train": chosen[options.test_images :]}


def _refuse_too_few(manifest: Manifest, there: int, needed: int, asked: str, options: str) -> None:
    if there < needed:
        raise DataError(
            f"{manifest.containers[0]}: has {there} different readable pictures, but {needed} {asked} are asked for. "
            f"Lower {options}. {manifest.header['rejected']} files were left out as unreadable."
        )


# --------------------------------------------------------------------------------------------- making them


def reader(manifest: Manifest, keep: bool) -> Callable[[Entry], Image]:
    """A function entry → picture. keep: hold the pictures in memory, for the few that give many crops."""
    read, kept = opener(manifest), dict[str, Image]()

    def picture(entry: Entry) -> Image:
        image = kept.get(entry["sha256"]) or decode_picture(read(entry))
        if keep:
            kept[entry["sha256"]] = image
        return image

    return picture


def write_images(
    stage: Stage[PrepareSpec],
    name: str,
    crops: Sequence[Crop],
    read: Callable[[Entry], Image],
    classes: Sequence[str],
) -> None:
    """Write the store `name`. Each crop depends on itself alone, so the number of threads changes no byte."""

    def make(index: int) -> StoredImage:
        crop = crops[index]
        picture = read(crop.picture)
        pixels = cut_square(picture, crop.box, stage.spec.prepare.image_size)
        return StoredImage(image_name(index), pixels, crop.label, crop.facts())

    threads = stage.spec.runtime.threads
    images = ordered(make, range(len(crops)), threads)
    shown = track(images, f"prepare {stage.spec.name} {name}", len(crops), "images")
    write_store(stage.path(f"{name}.zip"), shown, classes, threads)


def summary(manifest: Manifest, options: Prepare, crops: dict[str, list[Crop]]) -> dict[str, Any]:
    """The content of `prepare.json`. `sha256` is that of the list of crops: equal lists are equal images."""
    classes = manifest.classes
    content: dict[str, Any] = {
        "source": manifest.source,
        "image_size": options.image_size,
        "filter": FILTER,
        "classes": classes,
    }
    for split in SPLITS:
        counts = Counter(crop.label for crop in crops[split])
        listing = json.dumps([crop.identity() for crop in crops[split]])
        content[split] = {
            "images": len(crops[split]),
            "per_class": {name: counts[label] for label, name in enumerate(classes)},
            "sha256": hashlib.sha256(listing.encode()).hexdigest(),
        }
    return content
