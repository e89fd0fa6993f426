"""Degradations, and how they are evaluated."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, create_model, model_validator

from palette.config.choices import OneOf, table
from palette.config.options import Folder, Options

if TYPE_CHECKING:
    from palette.data.images.degraded import Strength

TASKS = table("palette.data.tasks", "TASKS")
DEGRADATIONS = tuple(TASKS)
MASKS = table("palette.data.masks.drawn", "MASKS")
Degradation = Annotated[str, OneOf(DEGRADATIONS)]
MaskKind = Annotated[str, OneOf(tuple(MASKS))]
MasksBy = Literal["originals", "numbers", "position"]


class TaskOptions(Options):
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

    @model_validator(mode="after")
    def masks_fit_the_degradation(self) -> Self:
        own = [name for name, kind in MASKS.items() if kind.task == self.degradation]
        if self.mask is not None and not own:
            tasks = " and ".join(sorted({kind.task for kind in MASKS.values()}))
            raise ValueError(f"`mask` has no meaning for {self.degradation}; it goes with {tasks}")
        if self.mask is not None and self.mask not in own:
            belongs = f"mask `{self.mask}` belongs to {MASKS[self.mask].task}"
            raise ValueError(f"{belongs}; {self.degradation} is evaluated with {', '.join(own)}")
        bounded = [name for name in own if MASKS[name].area and self.mask in (None, name)]
        if self.masks is not None and not bounded:
            raise ValueError("`masks` goes with inpainting, and with a free-form `mask` or none")
        if self.masks_by is not None and self.masks is None:
            raise ValueError("`masks_by` goes with `masks`")
        return self

    @model_validator(mode="after")
    def strength_fits_the_degradation(self) -> Self:
        for name, task in TASKS.items():
            option = task.strength.name if task.strength else ""
            if name != self.degradation and getattr(self, option, None) is not None:
                raise ValueError(f"`{option}` has no meaning for {self.degradation}; it goes with {name}")
        return self

    @property
    def evaluation_mask(self) -> str | None:
        if self.masks is not None and self.mask is None:
            return "own"
        default: str | None = TASKS[self.degradation].mask
        return self.mask or default

    @property
    def strength(self) -> float | None:
        """Strength of the evaluation; None for tasks without one."""
        strength: Strength | None = TASKS[self.degradation].strength
        if strength is None:
            return None
        given: float | None = getattr(self, strength.name)
        return strength.default if given is None else given

    @property
    def condition(self) -> str | None:
        """Mask or strength of the evaluation, as tables show it; None for tasks with neither."""
        return self.evaluation_mask if self.strength is None else f"{self.strength:.10g}"


def _strength_options() -> dict[str, Any]:
    """Return the options that the tasks' files declare, as fields."""
    declared = [task.strength for task in TASKS.values() if task.strength]
    return {s.name: (type(s.default) | None, Field(None, ge=s.least, le=s.most, description=s.about)) for s in declared}


if TYPE_CHECKING:
    Task = TaskOptions
else:
    Task = create_model("Task", __base__=TaskOptions, __module__=__name__, **_strength_options())
