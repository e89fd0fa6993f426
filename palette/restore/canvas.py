"""Preparation of photos of any size and aspect ratio for the network, and the part of its output to return."""

import hashlib
import math
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import numpy as np
from PIL import Image as Pictures

from palette.data.images.degraded import HOLE, Degraded, Image, Mask, cut
from palette.data.images.limits import PIXELS
from palette.data.images.pictures import FILTERS
from palette.data.tasks.colorization import luma
from palette.data.tasks.super_resolution import STRENGTH as FACTOR
from palette.errors import ConfigError, DataError
from palette.restore.photo import Photo, mask_of

Extend = Literal["right", "left", "top", "bottom", "all"]


@dataclass(frozen=True)
class Side:
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
        whole = isinstance(self.size, int) and not isinstance(self.size, bool)
        if self.size is not None and self.size != "full" and (not whole or self.size < 1):
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
        whole = isinstance(self.factor, Integral)
        if self.factor is not None and not (whole and FACTOR.least <= self.factor <= FACTOR.most):
            raise ConfigError(f"factor {self.factor!r}: should be a whole number from {FACTOR.least} to {FACTOR.most}.")


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

    @property
    def shown(self) -> Image:
        """Unpadded input for display next to the result: uint8 [height, width, 3], the hole in mid-gray."""
        return self.cropped(self.degraded.image)

    def cropped(self, image: Image) -> Image:
        """Return an image of the padded size without the padding: uint8 [height, width, 3]."""
        return image[: self.height, : self.width]


def canvas(photo: Image, request: Request, image_size: int, multiple: int) -> Canvas:
    """Prepare a photo for the network.

    photo: uint8 [H, W, 3]. image_size: size the model was trained on. multiple: divisor of the padded sides.
    """
    degraded = degrade(photo, request, image_size)
    height, width = degraded.image.shape[:2]
    return Canvas(padded(degraded, multiple), width, height, key_of(degraded))


def key_of(degraded: Degraded) -> str:
    """Return the SHA-256, in hex, of sides, pixels and hole. What the mask hides does not affect it."""
    mask = b"" if degraded.mask is None else degraded.mask.tobytes()
    return hashlib.sha256(f"{degraded.image.shape}".encode() + degraded.image.tobytes() + mask).hexdigest()


def degrade(photo: Image, request: Request, image_size: int) -> Degraded:
    """Return the photo degraded as the task requires, at the working size."""
    height, width = photo.shape[:2]
    size = working_size(width, height, request, image_size)
    if request.task == "uncropping":
        return extended(photo, EXTENSIONS[request.extend or "right"], *size, FILTERS[request.filter])
    if request.task == "super-resolution":
        return Degraded(enlarged(photo, request.factor or int(FACTOR.default), *size), None)
    image = resized(photo, *size, FILTERS[request.filter])
    if request.task == "inpainting":
        assert request.mask is not None
        return cut(image, touched(mask_of(request.mask, height, width), image.shape[1], image.shape[0]))
    if request.task == "colorization":
        return Degraded(np.repeat(luma(image)[:, :, None], 3, axis=2), None)
    return Degraded(image, None)  # the photo is itself the degraded image


def working_size(width: int, height: int, request: Request, image_size: int) -> tuple[int, int]:
    """Return width and height of the result for a photo of `width` × `height`. Raises DataError for too many pixels."""
    size = request.size or ("full" if request.task == "super-resolution" else image_size)
    across: float = 1
    down: float = 1
    if request.task == "uncropping":
        side = EXTENSIONS[request.extend or "right"]
        across, down = side.across, side.down
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


def resized(photo: Image, width: int, height: int, filter_: Pictures.Resampling = Pictures.Resampling.LANCZOS) -> Image:
    """Return the photo resized: uint8 [height, width, 3]. A photo of that size already is returned unchanged."""
    if photo.shape[:2] == (height, width):
        return photo
    return np.asarray(Pictures.fromarray(photo).resize((width, height), filter_)).copy()


def touched(mask: Mask, width: int, height: int) -> Mask:
    """Return the mask resized: bool [height, width], True where any hole pixel falls into the new one.

    Thin lines therefore persist.
    """
    shares = Pictures.fromarray(mask.astype(np.float32)).resize((width, height), Pictures.Resampling.BOX)
    return np.asarray(shares) > 0


def enlarged(photo: Image, factor: int, width: int, height: int) -> Image:
    """Return the photo enlarged by `factor` with the training's filter.

    It is first reduced if the result is to have fewer pixels than that.
    """
    small = resized(photo, max(1, round(width / factor)), max(1, round(height / factor)))
    return resized(small, width, height, Pictures.Resampling.BICUBIC)


def extended(photo: Image, side: Side, width: int, height: int, filter_: Pictures.Resampling) -> Degraded:
    """Return the photo on a canvas of `width` × `height`; the new part is mid-gray and to be generated."""
    kept_width, kept_height = (max(1, math.floor(n + 0.5)) for n in (width / side.across, height / side.down))
    left, above = int((width - kept_width) * side.left), int((height - kept_height) * side.above)
    image = np.full((height, width, 3), HOLE, np.uint8)
    mask = np.ones((height, width), np.bool_)
    place = slice(above, above + kept_height), slice(left, left + kept_width)
    image[place] = resized(photo, kept_width, kept_height, filter_)
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
