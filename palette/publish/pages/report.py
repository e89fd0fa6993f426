"""The main page: one HTML file that needs no network, no scripts and, except for its links, no other file."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from palette.data.sources.manifest import Manifest
from palette.publish.pages.problems import Noticed, noticed
from palette.publish.pages.templating import template
from palette.publish.tables.config_table import Grid
from palette.publish.tables.sheet import Sheet
from palette.stages.reading import read_spec
from palette.stages.released import ReleasedSpec
from palette.stages.rows import Row
from palette.stages.stage import cards_in
from palette.stages.train import TrainSpec
from palette.system.files import read_json
from palette.system.progress import clock


@dataclass(frozen=True)
class Picture:
    """A figure in the page: its file, and a description, which also serves readers who cannot see it."""

    path: Path
    title: str
    about: str

    @property
    def data(self) -> str:
        """The image as a `data:` URL, so that the page is self-contained."""
        kind = {".png": "image/png", ".svg": "image/svg+xml"}[self.path.suffix]
        return f"data:{kind};base64,{base64.b64encode(self.path.read_bytes()).decode()}"


@dataclass(frozen=True)
class Training:
    """A trained model, as the page describes it."""

    title: str
    parameters: str
    objective: str
    recipe: str
    tasks: str
    took: str
    folder: str


@dataclass(frozen=True)
class Source:
    """A dataset, as the page describes it."""

    name: str
    about: str
    images: list[dict[str, Any]]
    """Title, author, license and url of each original, where known."""
    more: int
    """Number of further images that are not listed."""
    published: dict[str, str]
    """`title`, `version`, `license`, `citation`, `homepage` of a published dataset, empty where unknown; else empty."""
    noticed: list[Noticed]
    """Bad files and duplicates."""


LISTED = 100
"""Maximum number of originals listed by name."""
PUBLISHED = ("title", "version", "license", "citation", "homepage")
"""Entries of a manifest's header that describe a published dataset."""


def trainings(rows: Sequence[Row], results: Path) -> list[Training]:
    """Return every trained model of `rows`, once each."""
    folders = {row.train: row for row in reversed(rows) if row.train is not None}
    return [_training(folder, row, results) for folder, row in reversed(folders.items())]


def _training(folder: str, row: Row, results: Path) -> Training:
    spec, facts, card = (
        read_spec(results / folder / "spec.yaml"),
        *(read_json(results / folder / f) for f in ("model.json", "card.json")),
    )
    if isinstance(spec, ReleasedSpec):
        return _released(folder, row, facts)
    assert isinstance(spec, TrainSpec)
    return Training(
        title=f"{row.model}, {row.dataset}, seed {spec.seed}",
        parameters=f"{facts['parameters'] / 1e6:.1f} M",
        objective=f"{spec.objective.kind}, {spec.objective.loss.upper()}",
        recipe=f"{spec.steps:,} steps of {spec.batch_size} images".replace(",", "\u202f"),
        tasks=", ".join(spec.mix),
        took=f"{clock(card.get('training_seconds') or card['seconds'])} on {card.get('device') or card['machine']}",
        folder=folder,
    )


def _released(folder: str, row: Row, facts: Mapping[str, Any]) -> Training:
    """Describe a model that was not trained here, from its `model.json`."""
    images = f"{facts['images']:,} images".replace(",", "\u202f") if facts.get("images") else ""
    return Training(
        title=f"{row.model}, released",
        parameters=f"{facts['parameters'] / 1e6:.1f} M",
        objective=f"{facts['objective']['kind']}, {facts['objective']['loss'].upper()}",
        recipe=images,
        tasks=", ".join(facts["mix"]),
        took="",
        folder=folder,
    )


def sources(rows: Sequence[Row], results: Path) -> list[Source]:
    """Return every dataset of `rows`, with the licenses of its originals."""
    return [_source(name, folder, results) for name, folder in {row.dataset: row.prepare for row in rows}.items()]


def _source(name: str, folder: str, results: Path) -> Source:
    facts = read_json(results / folder / "prepare.json")
    fetched = results / read_spec(results / folder / "spec.yaml").parents["fetch"]
    manifest = Manifest.read(fetched / "manifest.jsonl")
    images = [image for image in islice(manifest.images(), LISTED) if "license" in image]
    counts = f"{facts['train']['images']} training and {facts['test']['images']} test images"
    about = f"{counts} of {facts['image_size']} × {facts['image_size']} pixels in {len(facts['classes'])} classes"
    published = {key: str(manifest.header.get(key, "")) for key in PUBLISHED} if "title" in manifest.header else {}
    return Source(name, about, images, manifest.header["images"] - len(images), published, noticed(manifest, facts))


def adoptions(rows: Sequence[Row], results: Path) -> dict[str, list[str]]:
    """Return what cards say of the adoption of results by other code → the stages of `rows` that say it."""
    folders = dict.fromkeys(f for row in rows for f in (row.prepare, row.mask, row.train, row.sample, row.score) if f)
    found: dict[str, list[str]] = {}
    for folder in folders:
        for sentence in dict.fromkeys(s for card in cards_in(results / folder) for s in card.get("adopted", [])):
            found.setdefault(sentence, []).append(folder)
    return found


@dataclass(frozen=True)
class Page:
    """Content of the page."""

    title: str
    grids: Sequence[Grid]
    sheets: Sequence[Sheet]
    """Tables that follow the paper."""
    figures: Sequence[Picture]
    comparisons: Sequence[Picture]
    """Plots of quality against cost."""
    curves: Sequence[Picture]
    trainings: Sequence[Training]
    sources: Sequence[Source]
    rows: Sequence[Row]
    adoptions: Mapping[str, Sequence[str]]
    """What cards say of an adoption → folders of the stages."""
    gallery: bool = False
    """True if there is a gallery beside the page, so that numbers link to their images."""


def render(page: Page) -> str:
    """Render the page as HTML."""
    return template("page.html").render(page=page)
