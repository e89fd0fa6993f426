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

LARGEST, SMALL, COLUMNS = 800, 200, 5
"""Longest side of an image in the page, in pixels: larger ones are reduced; width below which each pixel is drawn as a
square; maximum number of images side by side."""


@dataclass(frozen=True)
class PageImage:
    data: str
    """Image as a `data:` URL."""
    about: str
    small: bool
    link: str
    """Full-size file, relative to the page; empty if there is none."""


@dataclass(frozen=True)
class PagePhoto:
    """Restored photo: its file and folder as given by the user, and the size of the result in pixels."""

    photo: str
    folder: str
    width: int
    height: int
    pictures: Sequence[PageImage]
    """Input, then samples."""


def page_image(pixels: npt.NDArray[np.uint8], about: str, file: str = "") -> PageImage:
    """Return uint8 [H, W, 3] as an image for the page. about: alt text. file: full-size file next to the page."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    data, kind = io.BytesIO(), "png" if max(picture.size) <= LARGEST // 2 else "jpeg"
    picture.save(data, format=kind, **({} if kind == "png" else {"quality": 92, "subsampling": "4:4:4"}))
    address = f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
    return PageImage(address, about, picture.width < SMALL, quote(file))


def render(title: str, facts: Sequence[tuple[str, str]], photos: Sequence[PagePhoto], failures: Sequence[str]) -> str:
    """Return the page as HTML. facts: names and values for its head. failures: what was wrong with other photos."""
    columns = min(COLUMNS, max((len(photo.pictures) for photo in photos), default=1))
    return template("restored.html").render(title=title, facts=facts, photos=photos, failures=failures, columns=columns)
