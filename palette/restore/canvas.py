"""Preparation of photos of any size and aspect ratio for the network, and the part of its output to return."""

import hashlib
import math
from dataclasses import dataclass
from numbers import Integral
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image as Pictures

from palette.data.images.degraded import HOLE, Degraded, Image, cut
from palette.data.images.limits import PIXELS
from palette.data.images.pictures import FILTERS
from palette.data.tasks.colorization import luma
from palette.data.tasks.super_resolution import STRENGTH as FACTOR
from palette.errors import ConfigError, DataError
from palette.restore.photo import Photo, mask_of

Extend = Literal["right", "left", "top", "bottom", "all"]


class Side(NamedTuple):
    """Canvas relative to its photo: `across` × `down` as large, with these shares of the new space left and above."""

    across: float
    down: float
    left: float = 0.0
    above: float = 0.0


EXTENSIONS: dict[str, Side] = {
    "right": Side(2, 1),
    "left": Side(2, 1, left=1),
    "top": Side(1, 2, above=1),
    "bottom": Side(1, 2),
    "all": Side(math.sqrt(2), math.sqrt(2), left=0.5, above=0.5),
}
"""Extensions as in training: half of the canvas is new, on one side or, with √2 times the side lengths, all around."""


@dataclass(frozen=True)
class Request:
    """Restoration options. Raises ConfigError for options that do not fit together.

    task: one of `DEGRADATIONS`. size: short side of the result in pixels, or `full` for the photo's own; default: the
    size the model was trained on, for super-resolution `full`. mask: for inpainting. extend: for uncropping, default
    `right`. factor: for super-resolution, default 4. filter: one of `FILTERS`, for resizing the photo; super-resolution
    has its own.
    """

    task: str
    size: int | Literal["full"] | None = None
    mask: Photo | None = None
    extend: str | None = None
    factor: int | None = None
    filter: str = "lanczos"

    def __post_init__(self) -> None:
        if self.size not in (None, "full") and not is_whole(self.size, 1):
            raise ConfigError(f"size {self.size!r}: should be a number of pixels, 1 or more, or 'full'.")
        for option, task in (("mask", "inpainting"), ("extend", "uncropping"), ("factor", "super-resolution")):
            if getattr(self, option) is not None and self.task != task:
                raise ConfigError(f"{option}: has no meaning for {self.task}; it goes with {task}.")
        if self.task == "inpainting" and self.mask is None:
            raise ConfigError("mask: missing. Inpainting needs one: as large as the photo, white where to generate.")
        if self.extend is not None and self.extend not in list(EXTENSIONS):
            raise ConfigError(f"extend {self.extend!r}: should be one of {', '.join(EXTENSIONS)}.")
        if self.filter not in list(FILTERS):
            raise ConfigError(f"filter {self.filter!r}: should be one of {', '.join(FILTERS)}.")
        if self.filter != "lanczos" and self.task == "super-resolution":
            raise ConfigError(
                "filter: has no meaning for super-resolution, which enlarges as in training. Leave it out."
            )
        allowed = self.factor is None or (is_whole(self.factor, 1) and FACTOR.least <= self.factor <= FACTOR.most)
        if not allowed:
            raise ConfigError(f"factor {self.factor!r}: should be a whole number from {FACTOR.least} to {FACTOR.most}.")


def is_whole(value: object, least: int) -> bool:
    """Return whether a value is a whole number of at least `least`."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


@dataclass(frozen=True)
class Canvas:
    """Photo prepared for the network."""

    degraded: Degraded
    """Network input, padded by reflection on the right and below to multiples of what the network requires."""
    width: int
    height: int
    """Size of the result, which is the upper left part."""
    key: str
    """Key derived from the content: equal content gets the same noise, from any file and alongside any other photos."""

    def cropped(self, image: Image) -> Image:
        """Return an image of the padded size without the padding: uint8 [height, width, 3]."""
        return image[: self.height, : self.width]


def canvas(photo: Image, request: Request, image_size: int, multiple: int) -> Canvas:
    """Prepare a photo for the network.

    photo: uint8 [H, W, 3]. image_size: size the model was trained on. multiple: divisor of the padded sides.
    """
    degraded = degrade(photo, request, image_size)
    height, width = degraded.image.shape[:2]
    hole = b"" if degraded.mask is None else degraded.mask.tobytes()  # what it hides does not affect the key
    key = hashlib.sha256(f"{degraded.image.shape}".encode() + degraded.image.tobytes() + hole).hexdigest()
    return Canvas(padded(degraded, multiple), width, height, key)


def degrade(photo: Image, request: Request, image_size: int) -> Degraded:
    """Return the photo degraded as the task requires, at the working size."""
    width, height = working_size(photo.shape[1], photo.shape[0], request, image_size)
    filter_ = FILTERS[request.filter]
    if request.task == "uncropping":
        return extended(photo, EXTENSIONS[request.extend or "right"], width, height, filter_)
    if request.task == "super-resolution":
        # With the training's filter; reduced before that if the result is to have fewer pixels than the enlarged photo.
        factor = request.factor or int(FACTOR.default)
        small = resized(photo, max(1, round(width / factor)), max(1, round(height / factor)), FILTERS["lanczos"])
        return Degraded(resized(small, width, height, Pictures.Resampling.BICUBIC), None)
    image = resized(photo, width, height, filter_)
    if request.task == "inpainting":
        assert request.mask is not None
        mask = Pictures.fromarray(mask_of(request.mask, *photo.shape[:2]).astype(np.float32))
        # Every pixel that any pixel of the hole falls into is hole, so thin lines persist.
        return cut(image, np.asarray(mask.resize((width, height), Pictures.Resampling.BOX)) > 0)
    if request.task == "colorization":
        image = np.repeat(luma(image)[:, :, None], 3, axis=2)
    return Degraded(image, None)  # in the other tasks, the photo is itself the degraded image


def working_size(width: int, height: int, request: Request, image_size: int) -> tuple[int, int]:
    """Return width and height of the result for a photo of `width` × `height`. Raises DataError for too many pixels."""
    size = request.size or ("full" if request.task == "super-resolution" else image_size)
    across: float = 1
    down: float = 1
    if request.task == "uncropping":
        across, down = EXTENSIONS[request.extend or "right"][:2]
    if request.task == "super-resolution":
        across = down = request.factor or int(FACTOR.default)
    return fitted(width * across, height * down, None if size == "full" else size)


def fitted(width: float, height: float, short: int | None) -> tuple[int, int]:
    """Return width and height with the short side `short` and the same aspect ratio, as integers of at least 1.

    None: the sides stay as they are, rounded. Raises DataError for more pixels than an image may have.
    """
    scale = 1.0 if short is None else short / min(width, height)
    fit = max(1, round(width * scale)), max(1, round(height * scale))
    if fit[0] * fit[1] > PIXELS:
        raise DataError(f"a result of {fit[0]}×{fit[1]} pixels; at most {PIXELS:,} are made. Choose a smaller size.")
    return fit


def resized(photo: Image, width: int, height: int, filter_: Pictures.Resampling) -> Image:
    """Return the photo resized: uint8 [height, width, 3]. A photo of that size already is returned unchanged."""
    if photo.shape[:2] == (height, width):
        return photo
    return np.asarray(Pictures.fromarray(photo).resize((width, height), filter_)).copy()


def extended(photo: Image, side: Side, width: int, height: int, filter_: Pictures.Resampling) -> Degraded:
    """Return the photo on a canvas of `width` × `height`; the new part is mid-gray and to be generated."""
    old_width, old_height = (max(1, math.floor(n + 0.5)) for n in (width / side.across, height / side.down))
    left, above = int((width - old_width) * side.left), int((height - old_height) * side.above)
    image = np.full((height, width, 3), HOLE, np.uint8)
    mask = np.ones((height, width), np.bool_)
    place = slice(above, above + old_height), slice(left, left + old_width)
    image[place] = resized(photo, old_width, old_height, filter_)
    mask[place] = False
    return Degraded(image, mask)


def padded(degraded: Degraded, multiple: int) -> Degraded:
    """Pad by reflection on the right and below, to multiples of `multiple`.

    Reflections of known pixels are known. Reflections of the hole are hole too: the network must see neither its gray
    as if it were part of the photo, nor what the mask hides.
    """
    height, width = degraded.image.shape[:2]
    sides = ((0, -height % multiple), (0, -width % multiple))
    image = np.pad(degraded.image, (*sides, (0, 0)), mode="reflect")
    return Degraded(image, None if degraded.mask is None else np.pad(degraded.mask, sides, mode="reflect"))
