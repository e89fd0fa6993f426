"""Squares cut from pictures. For the built-in photographs, training and test squares share no pixel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from palette.config.datasets import Split, Squares
from palette.data.images.pictures import Box, center_square, middle
from palette.data.sources.manifest import Entry
from palette.system.randomness import generator

SMALLEST = 0.6
"""Side of the smallest crops, as a share of the largest that fits: the content must be recognizable at 64 px."""


@dataclass(frozen=True)
class Crop:
    """Square region of a picture: the picture's entry in the fetch manifest, its class label, and the square."""

    picture: Entry
    label: int
    box: Box

    def facts(self) -> dict[str, Any]:
        facts = {name: self.picture[name] for name in ("file", "sha256", "size")} | {"box": list(self.box)}
        return facts | ({"condition": self.picture["condition"]["sha256"]} if "condition" in self.picture else {})

    def condition(self) -> "Crop":
        """Return the crop of the picture's condition: its largest central square, whose scale may differ."""
        picture = self.picture["condition"]
        return Crop(picture, self.label, center_square(*picture["size"]))


def square(picture: Entry, options: Squares, split: Split) -> Box:
    """Return the square to cut from a picture. A random crop is seeded by the picture's content."""
    (width, height), kind = picture["size"], options.crop if split == "train" else options.test_crop
    if kind == "unscaled":
        return middle(width, height, options.image_size)
    if kind == "centre":
        return center_square(width, height)
    side, random = min(width, height), generator(options.seed, "crop", picture["sha256"])
    left, top = (int(random.integers(0, length - side, endpoint=True)) for length in (width, height))
    return left, top, left + side, top + side


def photo_crops(pictures: Sequence[Entry], options: Squares, split: Split, count: int) -> Iterator[Crop]:
    """Yield random crops, cycling through the photographs: training outside each one's test box, tests inside."""
    for index in range(count):
        label = index % len(pictures)
        picture, random = pictures[label], generator(options.seed, "crop", split, index)
        (width, height), (left, top, right, bottom) = picture["size"], picture["test_box"]
        test = (left, top, right, bottom)
        regions = [test] if split == "test" else around(width, height, test)
        yield Crop(picture, label, draw_crop(regions, options.image_size, random))


def around(width: int, height: int, test: Box) -> list[Box]:
    """Return the one or two boxes that remain around a box that spans the picture from edge to edge."""
    left, top, right, bottom = test
    strips = [(0, 0, left, height), (right, 0, width, height), (0, 0, width, top), (0, bottom, width, height)]
    assert (left, right) == (0, width) or (top, bottom) == (0, height), "the test box spans the picture"
    return [strip for strip in strips if strip[0] < strip[2] and strip[1] < strip[3]]


def draw_crop(regions: Sequence[Box], image_size: int, generator: np.random.Generator) -> Box:
    """Return a random square inside one of `regions`, each chosen with a probability proportional to its area.

    The side is uniform between `SMALLEST` of the region's short side (but at least `image_size`, if the region is that
    large) and the whole short side.
    """
    areas = np.array([(right - left) * (bottom - top) for left, top, right, bottom in regions], dtype=np.float64)
    left, top, right, bottom = regions[int(generator.choice(len(regions), p=areas / areas.sum()))]
    largest = min(right - left, bottom - top)
    smallest = min(largest, max(image_size, round(SMALLEST * largest)))
    side = int(generator.integers(smallest, largest, endpoint=True))
    x = int(generator.integers(left, right - side, endpoint=True))
    y = int(generator.integers(top, bottom - side, endpoint=True))
    return x, y, x + side, y + side
