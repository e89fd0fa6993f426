"""HTML page of restored photos: one file with each input next to its samples, whose full-size files are beside it."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
from PIL import Image

from palette.publish.pages.templating import template

LARGEST, SMALL, COLUMNS = 800, 200, 5
"""Longest side of an image in the page, in pixels: larger ones are reduced; width below which each pixel is drawn as a
square; maximum number of images side by side."""


def page_image(pixels: npt.NDArray[np.uint8], about: str, file: str = "") -> dict[str, Any]:
    """Return uint8 [H, W, 3] as an image for the page. about: alt text. file: full-size file next to the page."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    data, kind = io.BytesIO(), "png" if max(picture.size) <= LARGEST // 2 else "jpeg"
    picture.save(data, format=kind, **({} if kind == "png" else {"quality": 92, "subsampling": "4:4:4"}))
    address = f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
    return {"data": address, "about": about, "small": picture.width < SMALL, "link": quote(file)}


def render(facts: Mapping[str, str], photos: Sequence[Mapping[str, Any]], title: str, failures: Sequence[str]) -> str:
    """Return the page as HTML. facts: for its head. failures: what was wrong with the missing photos.

    photos: `photo` and `folder`, the file as given by the user; `width` and `height` of the result, in pixels;
    `pictures`, the input and the samples as images for the page.
    """
    columns = min(COLUMNS, max((len(photo["pictures"]) for photo in photos), default=1))
    page = template("restored.html")
    return page.render(title=title, facts=facts.items(), photos=photos, failures=failures, columns=columns)
