"""mask: one evaluation mask for each test image, fixed for ever, whatever the images and the models are."""

from collections.abc import Iterator

import numpy as np

from palette.data.masks import MASKS
from palette.data.randomness import generator
from palette.data.store import StoredImage, write_store
from palette.files import write_json
from palette.progress import track
from palette.spec import MaskSpec
from palette.stage import Stage


def run(stage: Stage[MaskSpec]) -> None:
    """Write `masks.zip` (1-bit PNGs, white where the model must generate) and `masks.json`."""
    spec = stage.spec
    areas: list[float] = []
    masks = track(draw(spec, areas), f"mask {spec.name}", spec.count, "masks")
    write_store(stage.path("masks.zip"), masks, ["mask"])
    area = {"min": min(areas), "mean": float(np.mean(areas)), "max": max(areas)}
    write_json(
        stage.path("masks.json"),
        {"kind": spec.mask, "image_size": spec.image_size, "count": spec.count, "area": area},
    )
    stage.write_card(["masks.zip", "masks.json"], area=area)


def draw(spec: MaskSpec, areas: list[float]) -> Iterator[StoredImage]:
    """The masks of test images 0, 1, …; the hidden share of each is appended to `areas`."""
    for index in range(spec.count):
        mask = MASKS[spec.mask](spec.image_size, generator(0, "mask", spec.mask, index))
        areas.append(float(mask.mean()))
        yield StoredImage(f"{index:08}.png", mask, source={"area": areas[-1]})
