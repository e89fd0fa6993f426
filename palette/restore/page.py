"""The page beside restored photographs: each input next to its samples. One HTML file; the samples at full size lie beside it."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
from PIL import Image

from palette.publish.pages.templating import template

LARGEST = 800
"""Longest side of a picture in the page, in pixels; larger ones are made smaller, for the page alone."""
SMALL = 200
"""Narrower pictures are shown enlarged, each pixel a square."""
COLUMNS = 5
"""Pictures side by side, at most."""


@dataclass(frozen=True)
class Shown:
    """A picture in the page."""

    data: str
    """Itself, as a `data:` address."""
    about: str
    small: bool
    link: str = ""
    """The file at full size, relative to the page."""


@dataclass(frozen=True)
class Restored:
    """A photograph: its input and samples."""

    photo: str
    """Name of the file."""
    folder: str
    """Where it is, as it was given."""
    width: int
    height: int
    """Of the result, in pixels."""
    pictures: Sequence[Shown]
    """The input first."""


def shown(pixels: npt.NDArray[np.uint8], about: str, file: str = "") -> Shown:
    """uint8 [H, W, 3] for the page. about: what it shows, for those who cannot see it. file: at full size, beside the page."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    if max(picture.size) <= LARGEST // 2:
        picture.save(data, format="PNG")
        kind = "png"
    else:
        picture.save(data, format="JPEG", quality=92, subsampling="4:4:4")
        kind = "jpeg"
    address = f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
    return Shown(address, about, picture.width < SMALL, quote(file))


def render(title: str, facts: Sequence[tuple[str, str]], photos: Sequence[Restored], failures: Sequence[str]) -> str:
    """The page as HTML. facts: names and values for its head. failures: what was wrong with the photos that are missing."""
    columns = min(COLUMNS, max((len(photo.pictures) for photo in photos), default=1))
    return template("restored.html").render(title=title, facts=facts, photos=photos, failures=failures, columns=columns)
