"""The main page: one HTML file that needs no network, no scripts and, except for its links, no other file."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from palette.data.sources.manifest import Manifest
from palette.model.facts import read_facts
from palette.publish.pages.problems import file_problems
from palette.publish.pages.templating import template
from palette.stages.reading import read_spec
from palette.stages.rows import Row
from palette.stages.stage import cards_in
from palette.stages.train import TrainSpec
from palette.system.files import read_json
from palette.system.progress import clock

LISTED = 100
"""Maximum number of originals listed by name."""
PUBLISHED = ("title", "version", "license", "citation", "homepage")
"""Entries of a manifest's header that describe a published dataset."""


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


def trainings(rows: Sequence[Row], results: Path) -> list[dict[str, str]]:
    """Describe every trained model of `rows`, once each: title, parameters, objective, recipe, tasks, took, folder."""
    folders = {row.train: row for row in reversed(rows) if row.train is not None}
    return [_training(folder, row, results) for folder, row in reversed(folders.items())]


def _training(folder: str, row: Row, results: Path) -> dict[str, str]:
    facts, spec = read_facts(results / folder / "model.json"), read_spec(results / folder / "spec.yaml")
    common = {
        "folder": folder,
        "parameters": f"{facts.parameters / 1e6:.1f} M",
        "objective": f"{facts.objective.kind}, {facts.objective.loss.upper()}",
    }
    if not isinstance(spec, TrainSpec):  # a released model
        recipe = f"{facts.images:,} images" if facts.images else ""
        texts = {"title": f"{row.model}, released", "tasks": ", ".join(facts.mix), "took": ""}
    else:
        recipe = f"{spec.steps:,} steps of {spec.batch_size} images"
        texts = {"title": f"{row.model}, {row.dataset}, seed {spec.seed}", "tasks": ", ".join(spec.mix)}
        card = read_json(results / folder / "card.json")
        seconds, machine = card.get("training_seconds") or card["seconds"], card.get("device") or card["machine"]
        texts["took"] = f"{clock(seconds)} on {machine}"
    return {**common, **texts, "recipe": recipe.replace(",", "\u202f")}


def sources(rows: Sequence[Row], results: Path) -> list[dict[str, Any]]:
    """Describe every dataset of `rows`.

    images: title, author, license and URL of each original, where known; more: number of those that are not listed.
    published: entries of PUBLISHED, empty where unknown; none if it is no published dataset.
    """
    return [_source(name, folder, results) for name, folder in {row.dataset: row.prepare for row in rows}.items()]


def _source(name: str, folder: str, results: Path) -> dict[str, Any]:
    facts = read_json(results / folder / "prepare.json")
    fetched = results / read_spec(results / folder / "spec.yaml").parents["fetch"]
    manifest = Manifest.read(fetched / "manifest.jsonl")
    images = [image for image in islice(manifest.images(), LISTED) if "license" in image]
    counts = f"{facts['train']['images']} training and {facts['test']['images']} test images"
    size = facts["image_size"]
    return {
        "name": name,
        "about": f"{counts} of {size} × {size} pixels in {len(facts['classes'])} classes",
        "images": images,
        "more": manifest.header["images"] - len(images),
        "published": {k: str(manifest.header.get(k, "")) for k in PUBLISHED} if "title" in manifest.header else {},
        "problems": file_problems(manifest, facts),
    }


def adoptions(rows: Sequence[Row], results: Path) -> dict[str, list[str]]:
    """Return what cards say of the adoption of results by other code → the stages of `rows` that say it."""
    folders = dict.fromkeys(f for row in rows for f in (row.prepare, row.mask, row.train, row.sample, row.score) if f)
    found: dict[str, list[str]] = {}
    for folder in folders:
        for sentence in dict.fromkeys(s for card in cards_in(results / folder) for s in card.get("adopted", [])):
            found.setdefault(sentence, []).append(folder)
    return found


def render(**content: Any) -> str:
    """Render the page as HTML. content: the variables of `page.html`."""
    return template("page.html").render(**content)
