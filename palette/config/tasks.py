"""Degradations, and how they are evaluated."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from palette.config.options import Folder, Options

DEGRADATIONS = tuple(
    sorted(file.stem.replace("_", "-") for file in (Path(__file__).parents[1] / "data/tasks").glob("[!_]*.py"))
)
"""A task is a file of that folder; a new file is a new task."""


def _known(name: str) -> str:
    if name not in DEGRADATIONS:
        raise ValueError(f"should be one of {', '.join(DEGRADATIONS)}")
    return name


Degradation = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(DEGRADATIONS)})]
MaskKind = Literal["free-form-10-20", "free-form-20-30", "free-form-30-40", "center", "right"]
MasksBy = Literal["originals", "numbers", "position"]


class Task(Options):
    degradation: Degradation
    """Degradation of an image. Training draws its strength anew for each image, as the paper does.
    `paired` shows the condition of a dataset of pairs instead."""
    mask: MaskKind | None = None
    """Evaluation mask of inpainting and uncropping. Default: `center` for inpainting, `right` for uncropping."""
    masks: Folder | None = None
    """`inpainting` only: your own masks instead of drawn ones. A folder of black and white PNGs, white where the model must generate,
    each named as the photograph it belongs to; or `imagenet_freeform_masks.npz`, the paper's, of which `mask` names the part: mask i
    is for test image i. With a free-form `mask` their areas must be in its bin; without `mask` they may have any."""
    masks_by: MasksBy | None = None
    """How a folder of `masks` is dealt out: by the names of the `originals`, by `numbers` of test images (`00000017.png`), or by
    `position`: sorted by name, numbers by value, mask i for test image i. Default: originals or numbers, whichever fits."""
    quality: int | None = Field(None, ge=1, le=95)
    """Evaluation quality of JPEG. Default: 10. The paper's tables use 5, 10 and 20."""
    factor: int | None = Field(None, ge=2, le=16)
    """Evaluation factor of super-resolution; `image_size` must be a multiple of it. Default: 4."""

    @model_validator(mode="after")
    def options_fit_the_degradation(self) -> Self:
        if self.mask is not None and self.degradation not in ("inpainting", "uncropping"):
            raise ValueError(f"`mask` has no meaning for {self.degradation}; it goes with inpainting and uncropping")
        if self.degradation == "uncropping" and self.mask not in (None, "right"):
            raise ValueError(f"uncropping is evaluated with mask `right`, got {self.mask!r}")
        if self.degradation == "inpainting" and self.mask == "right":
            raise ValueError("mask `right` belongs to uncropping; inpainting takes `center` or a free-form mask")
        if self.masks is not None and (self.degradation != "inpainting" or self.mask == "center"):
            raise ValueError("`masks` goes with inpainting, and with a free-form `mask` or none")
        if self.masks_by is not None and self.masks is None:
            raise ValueError("`masks_by` goes with `masks`")
        if self.quality is not None and self.degradation != "jpeg":
            raise ValueError(f"`quality` has no meaning for {self.degradation}; it goes with jpeg")
        if self.factor is not None and self.degradation != "super-resolution":
            raise ValueError(f"`factor` has no meaning for {self.degradation}; it goes with super-resolution")
        return self

    @property
    def evaluation_mask(self) -> MaskKind | Literal["own"] | None:
        if self.masks is not None and self.mask is None:
            return "own"
        return self.mask or {"inpainting": "center", "uncropping": "right"}.get(self.degradation)  # type: ignore[return-value]

    @property
    def evaluation_quality(self) -> int | None:
        return (self.quality or 10) if self.degradation == "jpeg" else None

    @property
    def evaluation_factor(self) -> int | None:
        return (self.factor or 4) if self.degradation == "super-resolution" else None
