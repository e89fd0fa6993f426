"""HTML page of restored photos: one file with each input next to its samples, whose full-size files are beside it."""

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
"""Longest side of an image in the page, in pixels; larger ones are reduced, for the page only."""
SMALL = 200
"""Images narrower than this are enlarged, each pixel a square."""
COLUMNS = 5
"""Maximum number of images side by side."""


@dataclass(frozen=True)
class Shown:
    """Image in the page."""

    data: str
    """Image as a `data:` URL."""
    about: str
    small: bool
    link: str = ""
    """Full-size file, relative to the page."""


@dataclass(frozen=True)
class Restored:
    """Restored photo: its input and samples."""

    photo: str
    """File name."""
    folder: str
    """Folder of the file, as given by the user."""
    width: int
    height: int
    """Size of the result in pixels."""
    pictures: Sequence[Shown]
    """Input, then samples."""


def shown(pixels: npt.NDArray[np.uint8], about: str, file: str = "") -> Shown:
    """Return uint8 [H, W, 3] as an image for the page. about: alt text. file: full-size file next to the page."""
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
    """Return the page as HTML. facts: names and values for its head.

    failures: what was wrong with the missing photos.
    """
    columns = min(COLUMNS, max((len(photo.pictures) for photo in photos), default=1))
    return template("restored.html").render(title=title, facts=facts, photos=photos, failures=failures, columns=columns)
