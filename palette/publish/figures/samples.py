"""Figures of each task: test images, degraded, restored by every model, and original; several samples; failures."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from palette.data.evaluation_inputs import Inputs
from palette.data.store.store import ImageStore
from palette.publish.figures.panels import Panel, Pixels, compose, stack
from palette.publish.tables.results import Block, Line
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


def figure(block: Block, results: Path, count: int) -> Image.Image:
    """Draw the figure of one task, as the paper lays it out: `count` test images of different classes, one per row.

    Columns are the degraded input, the output of each model, and the original. results: the folder that the rows'
    folders are relative to.
    """
    items, names, originals = _tests(_sampler(block).row, results, count)
    return compose([*_panels(block, results, items), Panel("original", "", originals)], rows=names)


def draws(block: Block, results: Path, count: int, pool: int, number: int) -> Image.Image:
    """Draw several samples of one input: `count` test images, one per row, from the first model that samples.

    Columns are the input, `number` samples (at most DRAWS), and the original. pool: the test images are chosen among
    this many of the first ones, those that have several draws.
    """
    row = _sampler(block).row
    items, names, originals = _tests(row, results, count, pool)
    samples = [
        Panel(f"sample {draw + 1}", "", [sample(row, results, item, draw) for item in items])
        for draw in range(min(number, DRAWS))
    ]
    shown = [Panel("input", "", degraded(row, results, items)), *samples, Panel("original", "", originals)]
    return compose(shown, rows=names)


def failures(block: Block, results: Path) -> Image.Image:
    """Draw the test images with the worst results of each model, worst first, by the distance named in its scores."""
    lines = outputs(block)
    worst = [(line, found) for line in lines if (found := read_json(_scores(line.row, results))["worst"])]
    titles = [f"{line.label}: worst by {found['label']}" for line, found in worst]
    return stack([compose(list(_failures(line.row, results, found))) for line, found in worst], titles)


def _scores(row: Row, results: Path) -> Path:
    return results / row.score / "scores.json"


def _failures(row: Row, results: Path, worst: dict[str, Any]) -> Iterator[Panel]:
    """Yield the input, output and original of each of the worst images."""
    items = worst["images"][:FAILURES]
    inputs = degraded(row, results, items)
    with ImageStore(results / row.prepare / "test.zip") as tests:
        for item, value, image in zip(items, worst["values"], inputs, strict=False):
            value_text = f"{worst['label']} {value:.{worst['digits']}f}"
            yield Panel(f"#{item}, {tests.classes[tests.labels[item]]}", value_text, [image], apart=True)
            yield Panel("output", "", [sample(row, results, item)])
            yield Panel("original", "", [tests[item]])


def _tests(row: Row, results: Path, count: int, pool: int | None = None) -> tuple[list[int], list[str], list[Pixels]]:
    """Choose test images of different classes among the first `pool`: return their numbers, classes and originals."""
    with ImageStore(results / row.prepare / "test.zip") as tests:
        items = first_of_each_class(tests.labels[:pool], count)
        return items, [tests.classes[tests.labels[item]] for item in items], [tests[item] for item in items]


def outputs(block: Block) -> list[Line]:
    """Return the lines with outputs of a model, with the sampled ones last.

    Intermediate steps of a training are left out if there are other lines.
    """
    lines = [line for line in block.lines if line.row.sample is not None and not line.baseline]
    ends = [line for line in lines if line.row.steps is None] or lines
    return sorted(ends, key=lambda line: line.row.sampler is not None)


def _sampler(block: Block) -> Line:
    """Return the first line that is sampled, or the last line if none is."""
    lines = outputs(block)
    return next((line for line in lines if line.row.sampler is not None), lines[-1])


def has_samples(block: Block) -> bool:
    """Return whether there is anything to draw."""
    return bool(outputs(block))


def first_of_each_class(labels: Sequence[int], count: int) -> list[int]:
    """Return indices of the first image of each class, then of the second of each, …: at most `count`."""
    seen: dict[int, int] = {}
    rank = []
    for index, label in enumerate(labels):
        seen[label] = seen.get(label, -1) + 1
        rank.append((seen[label], index))
    return [index for _, index in sorted(rank)[:count]]


def _panels(block: Block, results: Path, items: list[int]) -> Iterator[Panel]:
    """Yield the input, then the outputs of each line. With several seeds, the first is shown."""
    yield Panel("input", "", degraded(_sampler(block).row, results, items))
    for line in outputs(block):
        row = line.row
        detail = ", ".join(filter(None, [row.sampler, row.milestone]))
        yield Panel(row.model, detail, [sample(row, results, item) for item in items])


def degraded(row: Row, results: Path, items: Sequence[int]) -> list[Pixels | None]:
    """Return test images as the model of `row` received them: uint8 [H,W,3] each, with holes in gray."""
    spec = sample_spec(row, results)
    masks = results / row.mask / "masks.zip" if row.mask else None
    with closing(Inputs(results / row.prepare, masks, spec.degradation, spec.strength)) as inputs:
        return [inputs[item].image for item in items]


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


@dataclass(frozen=True)
class _Strip:
    """Three columns of the overview for one test image: input, restored, original; one image per task."""

    input: list[Pixels | None]
    restored: list[Pixels | None]
    original: list[Pixels | None]


def overview(blocks: Sequence[Block], results: Path) -> Image.Image:
    """Draw one row per task: a few test images, each as input, output and original.

    The images are chosen by the originals alone.
    """
    shown = [block for block in blocks if has_samples(block)]
    panels: list[Panel] = []
    for number in range(OVERVIEW_INPUTS):
        strip = _Strip([], [], [])
        for block in shown:
            _add_to_strip(strip, block, results, number)
        panels += [
            Panel("input", "", strip.input, apart=True),
            Panel("output", "", strip.restored),
            Panel("original", "", strip.original),
        ]
    return compose(panels, rows=[block.title.split(",")[0] for block in shown])


def _add_to_strip(strip: _Strip, block: Block, results: Path, number: int) -> None:
    """Add the result for the `number`-th lively image, by the first model that samples, or else the last model."""
    row = _sampler(block).row
    with ImageStore(results / row.prepare / "test.zip") as tests:
        lively = liveliest_of_each_class([tests[i] for i in range(min(OVERVIEW_POOL, len(tests)))], tests.labels)
        item = lively[number % len(lively)]
        strip.original.append(tests[item])
        strip.input.extend(degraded(row, results, [item]))
    strip.restored.append(sample(row, results, item))


def liveliest_of_each_class(images: Sequence[Pixels], labels: Sequence[int]) -> list[int]:
    """Return, for each class, the index of the image with the most contrast and color; the liveliest class first."""
    lively = [float(image.std((0, 1)).mean() + 2 * image.std(2).mean()) for image in images]
    order = sorted(range(len(images)), key=lambda index: -lively[index])
    chosen: dict[int, int] = {}
    for index in order:
        chosen.setdefault(labels[index], index)
    return list(chosen.values())


def slug(block: Block) -> str:
    """Return a file name for a block: `photos-jpeg`."""
    return f"{block.dataset}-{block.task}"
