"""Draw the evaluation masks, one per test image.

They are fixed forever, whatever the images and the models are.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from palette.config.tasks import MaskKind, MasksBy
from palette.data.images.degraded import Mask
from palette.data.masks.drawn import MASKS
from palette.data.masks.supplied import own_masks
from palette.data.store.store import ImageStore, StoredImage, write_store
from palette.stages.base import Planned, Runtime, Spec, Usual, Work
from palette.stages.stage import Stage
from palette.system.files import replacing, write_json
from palette.system.progress import track
from palette.system.randomness import generator


class MaskRuntime(Runtime):
    """Runtime options of masks: the location of the user's."""

    masks: Path | None = None


class MaskSpec(Spec):
    """Masks → `masks.zip`, `masks.png`: one mask per test image.

    Drawn masks depend on sizes alone. Those in a user's folder are matched with the names of the images that `prepare`
    chose, unless they are assigned by position.
    """

    kind = "mask"
    verb = "mask"
    reads = ("prepare",)
    files = ("masks.zip", "masks.json", "masks.png")
    usual = Usual(memory_gb=4, hours=1)
    options = {
        "mask": "tasks.{task}.mask",
        "image_size": "datasets.{dataset}.prepare.image_size",
        "count": "datasets.{dataset}.prepare.test_images",
    }
    runtime: MaskRuntime = MaskRuntime()
    mask: MaskKind | Literal["own"]
    masks_sha256: str | None = None
    """SHA-256 of the user's masks; None: they are drawn."""
    masks_by: MasksBy | None = None
    """Way to match a folder's masks with the test images; None: by whichever names fit."""
    image_size: int
    count: int

    def work(self, planned: Planned, shard: str | None = None) -> Work:
        return Work(images=self.count, megapixels=self.image_size**2 / 1e6)


ACROSS, SHEET_MASKS, SIDE, GAP = 12, 48, 96, 4
"""Layout of the sheet: masks in a row, number of masks, largest side of one, pixels between two."""


def run(stage: Stage[MaskSpec]) -> None:
    """Write the masks, 1-bit PNGs that are white where the model must generate, facts, and a sheet of the first ones."""
    spec, summary = stage.spec, Summary()
    masks = track(map(summary.add, masks_of(stage)), f"mask {spec.name}", spec.count, "masks")
    named = (StoredImage(f"{i:08}.png", mask, source={"area": float(mask.mean())}) for i, mask in enumerate(masks))
    write_store(stage.path("masks.zip"), named, ["mask"], spec.runtime.threads)
    facts = {"kind": spec.mask, "image_size": spec.image_size, "count": spec.count, **summary.facts()}
    write_json(stage.path("masks.json"), facts)
    with replacing(stage.path("masks.png")) as temporary:
        summary.sheet().save(temporary, "PNG")
    stage.write_card(["masks.zip", "masks.json", "masks.png"], area=facts["area"])


def masks_of(stage: Stage[MaskSpec]) -> Iterator[Mask]:
    """Return the masks of test images 0, 1, …: the user's, or drawn."""
    spec = stage.spec
    if spec.runtime.masks is not None:
        tests = ImageStore(stage.parent("prepare", "test.zip")) if spec.parents else None
        return own_masks(spec.runtime.masks, spec.mask, spec.image_size, spec.count, tests, spec.masks_by)
    assert spec.mask != "own"
    draw = MASKS[spec.mask]
    return (draw(spec.image_size, generator(0, "mask", spec.mask, index)) for index in range(spec.count))


@dataclass
class Summary:
    """Facts about masks, collected as they pass."""

    areas: list[float] = field(default_factory=list)
    first: list[Mask] = field(default_factory=list)
    bits: Any = field(default_factory=hashlib.sha256)

    def add(self, mask: Mask) -> Mask:
        self.areas.append(float(mask.mean()))
        if len(self.first) < SHEET_MASKS:
            self.first.append(mask)
        self.bits.update(np.packbits(mask).tobytes())
        return mask

    def facts(self) -> dict[str, Any]:
        """Return the areas and `sha256`, that of all pixels, eight in a byte: equal on every machine."""
        area = {"min": min(self.areas), "mean": float(np.mean(self.areas)), "max": max(self.areas)}
        return {"area": area, "sha256": self.bits.hexdigest()}

    def sheet(self) -> Image.Image:
        """Return the first masks in rows, on gray."""
        side = min(SIDE, len(self.first[0]))
        step, rows = side + GAP, -(-len(self.first) // ACROSS)
        sheet = Image.new("L", (min(ACROSS, len(self.first)) * step - GAP, rows * step - GAP), 128)
        for number, mask in enumerate(self.first):
            row, column = divmod(number, ACROSS)
            small = Image.fromarray(mask).convert("L").resize((side, side), Image.Resampling.BOX)
            sheet.paste(small, (column * step, row * step))
        return sheet
