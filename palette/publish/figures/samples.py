"""Figures of each task: test images, degraded, restored by every model, and original; several samples; failures."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from PIL import Image

from palette.data.evaluation_inputs import Inputs
from palette.data.store.store import ImageStore
from palette.publish.figures.panels import Panel, Pixels, compose, stack
from palette.stages.reading import read_spec
from palette.stages.rows import Row
from palette.stages.sample import SampleSpec
from palette.system.files import read_json

DRAWS = 6
"""Maximum number of samples of one input side by side."""
FAILURES = 3
"""Failure cases per row."""
OVERVIEW_INPUTS = 3
OVERVIEW_POOL = 48
"""The overview's inputs are chosen among this many test images from the first on."""


def figure(test: Sequence[Row], results: Path, count: int) -> Image.Image:
    """Draw the figure of one test, as the paper lays it out: `count` test images of different classes, one per row.

    Columns are the degraded input, the output of each model, and the original. test: the first row of each line.
    results: the folder that the rows' folders are relative to.
    """
    items, names, originals = _images(_sampled(test), results, count)
    return compose([*_panels(test, results, items), Panel("original", "", originals)], rows=names)


def draws(test: Sequence[Row], results: Path, count: int, pool: int, number: int) -> Image.Image:
    """Draw several samples of one input: `count` test images, one per row, from the first model that samples.

    Columns are the input, `number` samples (at most DRAWS), and the original. pool: the test images are chosen among
    this many of the first ones, those that have several draws.
    """
    row = _sampled(test)
    items, names, originals = _images(row, results, count, pool)
    samples = [
        Panel(f"sample {draw + 1}", "", [sample(row, results, item, draw) for item in items])
        for draw in range(min(number, DRAWS))
    ]
    inputs = Panel("input", "", list(degraded(row, results, items)))
    return compose([inputs, *samples, Panel("original", "", originals)], rows=names)


def failures(test: Sequence[Row], results: Path) -> Image.Image:
    """Draw the test images with the worst results of each model, worst first, by the distance named in its scores."""
    scores = [(row, read_json(results / row.score / "scores.json")["worst"]) for row in outputs(test)]
    titles = [f"{row.label}: worst by {worst['label']}" for row, worst in scores if worst]
    return stack([compose(list(_failures(row, results, worst))) for row, worst in scores if worst], titles)


def _failures(row: Row, results: Path, worst: dict[str, Any]) -> Iterator[Panel]:
    """Yield the input, output and original of each of the worst images."""
    items = worst["images"][:FAILURES]
    inputs = degraded(row, results, items)
    with ImageStore(results / row.prepare / "test.zip") as tests:
        for item, value, image in zip(items, worst["values"], inputs, strict=False):
            distance = f"{worst['label']} {value:.{worst['digits']}f}"
            yield Panel(f"#{item}, {tests.classes[tests.labels[item]]}", distance, [image], apart=True)
            yield Panel("output", "", [sample(row, results, item)])
            yield Panel("original", "", [tests[item]])


def _images(row: Row, results: Path, count: int, pool: int | None = None) -> tuple[list[int], list[str], list[Pixels]]:
    """Choose test images of different classes among the first `pool`: return their numbers, classes and originals."""
    with ImageStore(results / row.prepare / "test.zip") as tests:
        items = first_of_each_class(tests.labels[:pool], count)
        return items, [tests.classes[tests.labels[item]] for item in items], [tests[item] for item in items]


def outputs(test: Sequence[Row]) -> list[Row]:
    """Return the rows with outputs of a model, with the sampled ones last.

    Intermediate steps of a training are left out if there are other rows.
    """
    rows = [row for row in test if row.sample is not None and not row.baseline]
    ends = [row for row in rows if row.steps is None] or rows
    return sorted(ends, key=lambda row: row.sampler is not None)


def _sampled(test: Sequence[Row]) -> Row:
    """Return the first row that is sampled, or the last row if none is."""
    rows = outputs(test)
    return next((row for row in rows if row.sampler is not None), rows[-1])


def first_of_each_class(labels: Sequence[int], count: int) -> list[int]:
    """Return indices of the first image of each class, then of the second of each, …: at most `count`."""
    seen: dict[int, int] = {}
    rank = []
    for index, label in enumerate(labels):
        seen[label] = seen.get(label, -1) + 1
        rank.append((seen[label], index))
    return [index for _, index in sorted(rank)[:count]]


def _panels(test: Sequence[Row], results: Path, items: list[int]) -> Iterator[Panel]:
    """Yield the input, then the outputs of each line. With several seeds, the first is shown."""
    yield Panel("input", "", list(degraded(_sampled(test), results, items)))
    for row in outputs(test):
        detail = ", ".join(filter(None, [row.sampler, row.milestone]))
        yield Panel(row.model, detail, [sample(row, results, item) for item in items])


def degraded(row: Row, results: Path, items: Iterable[int]) -> Iterator[Pixels]:
    """Yield test images as the model of `row` received them: uint8 [H,W,3] each, with holes in gray."""
    spec = sample_spec(row, results)
    masks = results / row.mask / "masks.zip" if row.mask else None
    with closing(Inputs(results / row.prepare, masks, spec.degradation, spec.strength)) as inputs:
        yield from (inputs[item].image for item in items)


def sample_spec(row: Row, results: Path) -> SampleSpec:
    """Return the spec of the samples of `row`."""
    assert row.sample is not None
    spec = read_spec(results / row.sample / "spec.yaml")
    assert isinstance(spec, SampleSpec)
    return spec


def sample(row: Row, results: Path, item: int, draw: int = 0) -> Pixels | None:
    """Return draw `draw` of test item `item`: uint8 [H,W,3]; None if that draw does not exist."""
    assert row.sample is not None
    folder, spec = results / row.sample, sample_spec(row, results)
    kind, name = ("draws", f"{item:08}-{draw}.png") if draw else ("shard", f"{item:08}.png")
    with ImageStore(folder / f"{kind}-{item // spec.shard_size:03}.zip") as store:
        return store[store.names.index(name)] if name in store.names else None


def overview(tests: Sequence[Sequence[Row]], results: Path) -> Image.Image:
    """Draw one row per test with outputs: a few test images, each as input, output and original.

    The images are chosen by the originals alone.
    """
    rows = [_sampled(test) for test in tests if outputs(test)]
    panels = []
    for number in range(OVERVIEW_INPUTS):
        columns = zip(*(_lively(row, results, number) for row in rows), strict=True)
        for label, images in zip(("input", "output", "original"), columns, strict=True):
            panels.append(Panel(label, "", images, apart=label == "input"))
    return compose(panels, rows=[row.title.split(",")[0] for row in rows])


def _lively(row: Row, results: Path, number: int) -> tuple[Pixels, Pixels | None, Pixels]:
    """Return input, output and original of the `number`-th lively image."""
    with ImageStore(results / row.prepare / "test.zip") as tests:
        lively = liveliest_of_each_class([tests[i] for i in range(min(OVERVIEW_POOL, len(tests)))], tests.labels)
        item = lively[number % len(lively)]
        (image,) = degraded(row, results, [item])
        return image, sample(row, results, item), tests[item]


def liveliest_of_each_class(images: Sequence[Pixels], labels: Sequence[int]) -> list[int]:
    """Return, for each class, the index of the image with the most contrast and color; the liveliest class first."""
    lively = [float(image.std((0, 1)).mean() + 2 * image.std(2).mean()) for image in images]
    order = sorted(range(len(images)), key=lambda index: -lively[index])
    chosen: dict[int, int] = {}
    for index in order:
        chosen.setdefault(labels[index], index)
    return list(chosen.values())
