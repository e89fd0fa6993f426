"""Pictures of each task: some test images, degraded, restored by every model, and as they were."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from palette.data.inputs import Inputs
from palette.data.store import ImageStore
from palette.publish.lines import Block, Line
from palette.publish.panels import Panel, Pixels, compose
from palette.spec import Row, SampleSpec, read_spec

DRAWS = 3
"""Samples of one input side by side, where a single model samples."""
OVERVIEW_INPUTS = 3
OVERVIEW_POOL = 48
"""The overview's inputs are chosen among so many test images from the first on."""


def figure(block: Block, results: Path, count: int, pool: int) -> Image.Image:
    """The picture of one task: `count` test images of different classes, one a row; degraded, restored and original, one a column.

    pool: they are chosen among so many of the first test images, those that have several draws.
    results: the folder that the rows' folders are relative to.
    """
    row = _restored(block)[0].row
    with ImageStore(results / row.prepare / "test.zip") as tests:
        items = first_of_each_class(tests.labels[:pool], count)
        originals = [tests[item] for item in items]
        names = [tests.classes[tests.labels[item]] for item in items]
    return compose([*_panels(block, results, items), Panel("original", "", originals)], rows=names)


def _restored(block: Block) -> list[Line]:
    """The lines with samples of a trained model."""
    return [line for line in block.lines if line.row.sample is not None and not line.baseline]


def has_samples(block: Block) -> bool:
    """Whether there is anything to draw."""
    return bool(_restored(block))


def first_of_each_class(labels: Sequence[int], count: int) -> list[int]:
    """Indices of the first image of each class, then of the second of each, …: `count` in all, or as many as there are."""
    seen: dict[int, int] = {}
    rank = []
    for index, label in enumerate(labels):
        seen[label] = seen.get(label, -1) + 1
        rank.append((seen[label], index))
    return [index for _, index in sorted(rank)[:count]]


def _panels(block: Block, results: Path, items: list[int]) -> Iterator[Panel]:
    """The input, then each line's samples; several draws of the first line that has them. Of several seeds, the first."""
    restored = _restored(block)
    yield Panel("input", "", degraded(restored[0].row, results, items))
    sampled = [line for line in restored if line.row.sampler is not None]
    for line in restored:
        draws = DRAWS if sampled[:1] == [line] else 1
        for draw in range(draws):
            images = [sample(line.row, results, item, draw) for item in items]
            if any(image is not None for image in images):
                detail = f"draw {draw + 1}" if draws > 1 else line.row.sampler or ""
                yield Panel(line.row.model, detail, images)


def degraded(row: Row, results: Path, items: Sequence[int]) -> list[Pixels | None]:
    """Test images as the model of `row` was shown them: uint8 [H,W,3] each, a hole in gray."""
    spec = sample_spec(row, results)
    masks = results / row.mask / "masks.zip" if row.mask else None
    with closing(Inputs(results / row.prepare, masks, spec.degradation, spec.quality, spec.factor)) as inputs:
        return [inputs[item].image for item in items]


def sample_spec(row: Row, results: Path) -> SampleSpec:
    """What the samples of `row` were made by."""
    assert row.sample is not None
    spec = read_spec(results / row.sample / "spec.yaml")
    assert isinstance(spec, SampleSpec)
    return spec


def sample(row: Row, results: Path, item: int, draw: int = 0) -> Pixels | None:
    """Draw `draw` of test item `item`: uint8 [H,W,3]; None if that draw was not made."""
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
    """One row per task: a few test images, each as input, output and original. The inputs are chosen by the originals alone."""
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
    """The block's model that samples, or else its last one, on the `number`-th lively image."""
    restored = _restored(block)
    row = next((line.row for line in restored if line.row.sampler is not None), restored[-1].row)
    with ImageStore(results / row.prepare / "test.zip") as tests:
        lively = liveliest_of_each_class([tests[i] for i in range(min(OVERVIEW_POOL, len(tests)))], tests.labels)
        item = lively[number % len(lively)]
        strip.original.append(tests[item])
        strip.input.extend(degraded(row, results, [item]))
    strip.restored.append(sample(row, results, item))


def liveliest_of_each_class(images: Sequence[Pixels], labels: Sequence[int]) -> list[int]:
    """Of each class the index of the image with the most contrast and colour; the liveliest class first."""
    lively = [float(image.std((0, 1)).mean() + 2 * image.std(2).mean()) for image in images]
    order = sorted(range(len(images)), key=lambda index: -lively[index])
    chosen: dict[int, int] = {}
    for index in order:
        chosen.setdefault(labels[index], index)
    return list(chosen.values())


def slug(block: Block) -> str:
    """A file name for a block: `photos-jpeg`."""
    return f"{block.dataset}-{block.task}"
