"""The gallery: every test image of every experiment in one page, with its images in sheets beside it.

A page opened from disk can show images but cannot read files. All facts are therefore in the page itself, and the
images are parts of larger sheets, of which a browser loads only those that are viewed.
"""

import base64
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from markupsafe import Markup
from PIL import Image

from palette.data.store.store import ImageStore
from palette.errors import DataError
from palette.publish.figures.panels import Pixels
from palette.publish.figures.samples import degraded, sample_spec
from palette.publish.pages.templating import template
from palette.stages.report import ReportSpec
from palette.stages.rows import GalleryImages, Row, picture_sets, sheet_name
from palette.system.files import read_json, replacing, write_text

T = TypeVar("T")

PREVIEW_IMAGES, PREVIEW_SIZE = 36, 96
"""Number of test images per experiment in the small self-contained page, and their largest side in pixels."""


def write(spec: ReportSpec, results: Path, folder: Path) -> None:
    """Write `spec.gallery_files` into `folder`. Raises DataError if an image is missing from a store."""
    small: dict[str, list[Pixels]] = {}
    for name, row in sets(spec).items():
        layout = spec.gallery[row.dataset]
        small[name] = write_sheets(_pictures(name, row, results, layout.images), name, layout, folder)
    previews = {name: base64.b64encode(_preview(pictures)).decode() for name, pictures in small.items()}
    write_text(folder / "index.html", render(content(spec, results)))
    write_text(folder / "preview.html", render(_shortened(content(spec, results, linked=False), previews)))


def sets(spec: ReportSpec) -> dict[str, Row]:
    """Return each set of images with a row that uses it."""
    rows = [row for row in spec.rows if row.dataset in spec.gallery]
    return {name: row for row in reversed(rows) for name in picture_sets(row).values()}


def _pictures(name: str, row: Row, results: Path, count: int) -> Iterator[Pixels]:
    """Yield the images of one set, uint8 [H, W, 3] each, in the order of the test set."""
    kind = next(kind for kind, pictures in picture_sets(row).items() if pictures == name)
    if kind == "original":
        with ImageStore(results / row.prepare / "test.zip") as tests:
            yield from (tests[item] for item in range(count))
    elif name.startswith("inputs/"):
        yield from degraded(row, results, range(count))
    else:
        yield from _outputs(row, results, count)


def _outputs(row: Row, results: Path, count: int) -> Iterator[Pixels]:
    spec = sample_spec(row, results)
    for items in _batches(range(count), spec.shard_size):
        path = results / f"{row.sample}/shard-{items[0] // spec.shard_size:03}.zip"
        with ImageStore(path) as store:
            places = {name: place for place, name in enumerate(store.names)}
            for item in items:
                if (name := f"{item:08}.png") not in places:
                    raise DataError(
                        f"{path}: no image {name}. Delete {path.parent} and run `snakemake` again; it is made anew."
                    )
                yield store[places[name]]


def write_sheets(pictures: Iterable[Pixels], name: str, shown: GalleryImages, folder: Path) -> list[Pixels]:
    """Write images, uint8 [size, size, 3] each, as sheets; return the first PREVIEW_IMAGES.

    Image i is in sheet i // across², at position i % across², row by row. One sheet is in memory at a time.
    """
    first: list[Pixels] = []
    for number, part in enumerate(_batches(pictures, shown.across**2)):
        first += part[: PREVIEW_IMAGES - len(first)]
        with replacing(folder / sheet_name(name, number)) as temporary:
            sheet(part, shown.across).save(temporary, format="PNG")
    return first


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield `size` items at a time; the last batch may be smaller."""
    waiting = iter(items)
    while batch := list(islice(waiting, size)):
        yield batch


def sheet(pictures: Sequence[Pixels], across: int) -> Image.Image:
    """Arrange square images of one size, uint8 [size, size, 3], `across` in a row."""
    size = pictures[0].shape[0]
    pixels = np.zeros((-(-len(pictures) // across) * size, across * size, 3), np.uint8)
    for number, picture in enumerate(pictures):
        y, x = number // across * size, number % across * size
        pixels[y : y + size, x : x + size] = picture
    return Image.fromarray(pixels)


def _preview(pictures: Sequence[Pixels]) -> bytes:
    """Return one sheet as PNG, with images of at most PREVIEW_SIZE pixels."""
    size = min(PREVIEW_SIZE, pictures[0].shape[0])
    small = [np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.LANCZOS)) for p in pictures]
    file = io.BytesIO()
    sheet(small, _across(PREVIEW_IMAGES)).save(file, format="PNG")
    return file.getvalue()


def _across(images: int) -> int:
    """Return the side of the smallest square that holds this many images."""
    return next(side for side in range(1, images + 1) if side * side >= images)


def content(spec: ReportSpec, results: Path, linked: bool = True) -> dict[str, Any]:
    """Return all data of the page, as `gallery.js` reads it: JSON values.

    linked: False for a page that may be moved anywhere, and so has no links to other files.
    """
    rows = [row for row in spec.rows if row.dataset in spec.gallery]
    prepared = {row.dataset: row.prepare for row in rows}
    return {
        "title": spec.title,
        "report": "../index.html" if linked else None,
        "datasets": {name: _dataset(results / folder, spec.gallery[name]) for name, folder in prepared.items()},
        "experiments": [_experiment(row, results, linked) for row in rows],
    }


def _dataset(prepare: Path, shown: GalleryImages) -> dict[str, Any]:
    """Return the class and source file of each image, with the layout of the sheets."""
    with ImageStore(prepare / "test.zip") as tests:
        manifest = tests.manifest[: shown.images]
        return {
            "images": shown.images,
            "size": shown.size,
            "across": shown.across,
            "classes": tests.classes,
            "labels": tests.labels[: shown.images],
            "files": [image.get("file", "") for image in manifest] if any("file" in i for i in manifest) else [],
        }


def _experiment(row: Row, results: Path, linked: bool) -> dict[str, Any]:
    scores = read_json(results / row.score / "scores.json")["scores"]
    return {
        "name": row.experiment,
        "dataset": row.dataset,
        "task": row.task,
        "title": row.title,
        "label": row.label,
        "nfe": row.evaluations,
        "seed": row.seed if row.train else None,
        "shard": sample_spec(row, results).shard_size if row.sample else None,
        "scores": [_score(score) for score in scores.values()],
        "links": _links(row) if linked else [],
        **picture_sets(row),
    }


def _score(score: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the name, value and 95 % interval as printed."""
    digits, low, high = score["digits"], score["low"], score["high"]
    value = "∞" if score["value"] is None else f"{score['value']:.{digits}f}"
    interval = "" if low is None or high is None else f"[{low:.{digits}f}, {high:.{digits}f}]"
    return score["label"], value + ("†" if score.get("small") else ""), interval


def _links(row: Row) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return for each stage its folder, and text and file of each link. `{shard}`: number of the image's shard."""
    card, spec = ("card", "card.json"), ("spec", "spec.yaml")
    found = [("scores", row.score, [("values", "scores.json"), card, spec])]
    found += [("samples", row.sample, [("card", "shard-{shard}.json"), spec])] if row.sample else []
    found += [("training", row.train, [card, spec])] if row.train else []
    found += [("test images", row.prepare, [card, spec])]
    return [(stage, f"../../{folder}", files) for stage, folder, files in found]


def _shortened(whole: dict[str, Any], previews: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of the self-contained page: the first images only, and the sheets as PNG in base64."""
    datasets = {
        name: {
            **dataset,
            "images": (count := min(PREVIEW_IMAGES, dataset["images"])),
            "size": min(PREVIEW_SIZE, dataset["size"]),
            "across": _across(PREVIEW_IMAGES),
            "labels": dataset["labels"][:count],
            "files": dataset["files"][:count],
        }
        for name, dataset in whole["datasets"].items()
    }
    return {**whole, "datasets": datasets, "sheets": dict(previews)}


def render(known: Mapping[str, Any]) -> str:
    """Return the page as HTML. known: the result of `content`."""
    data = json.dumps(known, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return template("gallery.html").render(
        title=known["title"],
        report=known["report"],
        # Script elements are not unescaped, and only `<` could end one.
        data=Markup(data.replace("<", "\\u003c")),
        css=_text("gallery.css"),
        js=_text("gallery.js"),
    )


def _text(name: str) -> Markup:
    """Return a template that is put into the page unescaped."""
    return Markup(files("palette.publish").joinpath("templates", name).read_text(encoding="utf-8"))
