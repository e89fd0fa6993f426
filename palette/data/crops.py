"""Training and test crops from the same photographs, without a shared pixel."""

from collections.abc import Sequence

import numpy as np

from palette.data.photos import Box

SMALLEST = 0.6
"""Side of the smallest crops, as a share of the largest that fits: at 64 px one must still see what it is."""


def around(width: int, height: int, test: Box) -> list[Box]:
    """What remains of a picture around a box that spans it from edge to edge: one or two boxes."""
    left, top, right, bottom = test
    strips = [(0, 0, left, height), (right, 0, width, height), (0, 0, width, top), (0, bottom, width, height)]
    assert (left, right) == (0, width) or (top, bottom) == (0, height), "the test box spans the picture"
    return [strip for strip in strips if strip[0] < strip[2] and strip[1] < strip[3]]


def draw_crop(regions: Sequence[Box], image_size: int, generator: np.random.Generator) -> Box:
    """A random square inside one of `regions`, each as likely as its area.

    Its side is uniform from `SMALLEST` of the region's short side (but no less than `image_size`, where the region
    has it) to all of it.
    """
    areas = np.array([(right - left) * (bottom - top) for left, top, right, bottom in regions], dtype=np.float64)
    left, top, right, bottom = regions[int(generator.choice(len(regions), p=areas / areas.sum()))]
    largest = min(right - left, bottom - top)
    smallest = min(largest, max(image_size, round(SMALLEST * largest)))
    side = int(generator.integers(smallest, largest, endpoint=True))
    x = int(generator.integers(left, right - side, endpoint=True))
    y = int(generator.integers(top, bottom - side, endpoint=True))
    return x, y, x + side, y + side
