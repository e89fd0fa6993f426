"""`palette restore`: photos in files, restored one after the other to samples and a page."""

import hashlib
import json
import math
from argparse import Namespace
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from palette.config.sampling import Sampler
from palette.data.images.depth import Range
from palette.data.tasks import TASKS
from palette.errors import ConfigError, DataError, Interrupted, listed
from palette.model.blocks import Block
from palette.restore import files, pace
from palette.restore.canvas import Request
from palette.restore.model import Model, load
from palette.restore.page import page_image, render
from palette.restore.photo import hole_of, picture_of, pixels_of, require_range, size_of
from palette.stages import fingerprint
from palette.system import devices
from palette.system.files import sha256, write_text
from palette.system.progress import Progress, say
from palette.system.units import counted, duration, rounded


@dataclass
class Entry:
    """Photo to restore, and the files of its samples."""

    photo: Path
    results: list[Path]
    finished: int = 0
    """Number of results, always the first ones, that an earlier run of the same command has left."""


@dataclass
class Batch:
    """Photos of one call of the command, and how they are restored."""

    model: Model
    request: Request
    sampler: Sampler | None
    seed: int
    at_once: int | None
    value_range: Range | None
    page: Path
    entries: list[Entry]
    progress: Progress = field(init=False)
    """Progress in blocks of the network, because an evaluation of a large photo takes minutes."""
    current: str = ""
    """Path of the photo that is being restored."""
    restored: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @cached_property
    def blocks(self) -> list[Block]:
        return [module for module in self.model.network.modules() if isinstance(module, Block)]

    def missing(self, entry: Entry) -> int:
        """Return the number of evaluations of the network for the missing samples of one photo."""
        return (len(entry.results) - entry.finished) * (self.sampler.evaluations if self.sampler else 1)

    @cached_property
    def identity(self) -> str:
        """Text that covers everything that determines a result except the photo and the number of the sample."""
        mask = self.request.mask
        request = {**vars(self.request), "mask": sha256(mask) if isinstance(mask, Path) else None}
        sampler = self.sampler.model_dump() if self.sampler else None
        code = fingerprint.fingerprint("palette.restore.model")  # includes reading and resizing the photo
        model = [sha256(self.model.weights), self.model.facts.model_dump(mode="json")]
        return json.dumps([model, request, self.value_range, sampler, self.seed, code], sort_keys=True)

    def mark(self, photo: Path) -> str:
        """Return a digest of everything that determines the results of a photo. The results carry it."""
        return hashlib.sha256(f"{self.identity} {sha256(photo)}".encode()).hexdigest()[:16]


def run(options: Namespace) -> None:
    """Restore all photos that can be read, and write the page. options: those of the command.

    Raises DataError if a photo could not be restored, Interrupted after Ctrl-C, and ConfigError for options that do not
    fit together or the model.
    """
    batch = _plan(options)
    interrupted = True
    try:
        with suppress(KeyboardInterrupt):
            for entry in batch.entries:
                _restore(batch, entry)
            interrupted = False
        if batch.restored:
            _write_page(batch)
            say(f"open {batch.page}")
    except OSError as error:  # from the disk of the results: the next photo would fail too
        place, reason = error.filename or batch.page.parent, error.strerror or error
        raise DataError(f"{place}: {reason}. Finished results stay, and the same command goes on after them.") from None
    total = len(batch.entries)
    if interrupted:
        count = f"{len(batch.restored)} of {total} photos"
        raise Interrupted(f"interrupted after {count}; the same command goes on after the results that are finished.")
    if batch.failures:
        count = f"{len(batch.failures)} of {total} photos could not be restored"
        raise DataError("\n  ".join([f"{count}:", *batch.failures]))


def _plan(options: Namespace) -> Batch:
    """Check everything that can be checked before the first photo is restored, and say how long it will take."""
    devices.use()
    value_range = tuple(options.range) if options.range else None
    require_range(value_range)
    photos = files.photos_in(options.images, options.out)
    model = load(options.model)
    if options.mask:
        hole_of(options.mask)  # fail now if it is not a mask, because every photo needs it
    task = model.task_of(options.task)
    request = Request(task, options.size, options.mask, options.extend, options.factor, options.filter)
    sampler = model.sampler_of(options.sampler, options.steps)
    samples = model.samples_of(options.samples, options.batch)
    results = files.result_paths(photos, options.out, samples)
    entries = [Entry(photo, paths) for photo, paths in zip(photos, results, strict=True)]
    page = options.out / files.PAGE
    batch = Batch(model, request, sampler, options.seed, options.batch, value_range, page, entries)
    ours = set() if options.force else _find_finished(batch)
    paths = sorted({page, *(path for entry in entries for path in entry.results)})
    inputs = [*photos, model.weights, *([options.mask] if options.mask else [])]
    files.check_results(paths, inputs, options.force, ours | ({page} if ours else set()))
    if skipped := files.skipped_files(options.images, options.out):
        say(f"skipped (unsupported file extension): {listed(skipped, 5)}")
    say(f"{task}: {counted(len(photos), 'photo')}, {counted(samples, 'sample')} each, on {model.device}")
    if finished := sum(entry.finished for entry in entries):
        say(f"keeping {counted(finished, 'result')} of an earlier run of the same command")
    _estimate_time(batch, options.hours)
    progress = Progress("restore", sum(map(batch.missing, entries)) * len(batch.blocks), "blocks")
    for block in batch.blocks:
        block.register_forward_hook(lambda _, inputs, output: progress.advance(len(output), note=batch.current))
    batch.progress = progress
    return batch


def _find_finished(batch: Batch) -> set[Path]:
    """Return the results that an earlier run of the same command has left; count those that need not be made again."""
    ours: set[Path] = set()
    for entry in batch.entries:
        existing = [path for path in entry.results if path.exists()]
        mark = batch.mark(entry.photo) if existing else ""
        ours |= {path for path in existing if files.has_mark(path, mark)}
        whole = (path in ours and files.is_whole(path) for path in entry.results)
        entry.finished = sum(takewhile(bool, whole))
    return ours


def _estimate_time(batch: Batch, hours: float) -> None:
    """Print the estimated time. Raises ConfigError if it is more than `hours`."""
    counts: Counter[int] = Counter()  # pixels → evaluations
    for entry in batch.entries:
        with suppress(DataError):  # reported when its turn comes
            if size := size_of(entry.photo):
                counts[batch.model.pixels(*size, batch.request)] += batch.missing(entry)
    if not counts.total():
        return
    seconds_of = pace.measure(batch.model, max(counts))
    seconds = sum(seconds_of(pixels) * count for pixels, count in counts.items())
    longest = rounded(seconds_of(max(counts)))
    evaluations = f"{counted(counts.total(), 'evaluation')} of the network, of up to {longest} s each"
    about = f"about {duration(max(1, seconds))}: {evaluations}"
    say(about)
    if not seconds <= 3600 * hours:  # also rejects NaN
        raise ConfigError(
            f"{about}. That is more than {hours:g} h: choose a smaller --size, fewer --samples or --steps, or allow it with "
            f"--hours {math.ceil(seconds / 3600)}."
        )


def _restore(batch: Batch, entry: Entry) -> None:
    """Restore one photo and write its samples; record the error if it cannot be restored."""
    name, before = str(entry.photo), batch.progress.done
    batch.current = name
    try:
        batch.restored.append(_draw(batch, entry))
    except DataError as error:
        batch.failures.append(str(error) if name in str(error) else f"{name}: {error}")
        after = before + batch.missing(entry) * len(batch.blocks)
        batch.progress.advance(after - batch.progress.done, note=f"{name} failed")


def _draw(batch: Batch, entry: Entry) -> dict[str, Any]:
    """Write the missing samples of a photo, and return its entry for the page."""
    photo, request = entry.photo, batch.request
    picture = picture_of(photo, value_range=batch.value_range)
    canvas = batch.model.canvas(np.array(picture.pixels), request)
    if picture.lost:
        say(f"{photo}: converted to 8-bit RGB on white, with losses: {picture.lost}")
    before, after = min(picture.pixels.size), min(canvas.width, canvas.height)
    if request.task == "jpeg" and request.size is None and after < before and not batch.restored:
        # JPEG artifacts have the size of pixels, so they become smaller too.
        smaller = f"made smaller, from {before} to {after} pixels, artifacts and all"
        say(f"{photo}: {smaller}. `--size full` keeps its pixels.")
    mark, first = batch.mark(photo), entry.finished
    samples = batch.model.draw(canvas, len(entry.results), batch.seed, batch.sampler, batch.at_once, first=first)
    images = [page_image(canvas.cropped(canvas.degraded.image), f"{photo.name}: input")]
    for number, path in enumerate(entry.results):
        if number < first:
            image = pixels_of(path)
        else:
            image = next(samples)
            files.write_png(path, image, mark)
        images.append(page_image(image, f"{photo.name}: sample {number}", path.name))
    place = {"photo": photo.name, "folder": str(photo.parent)}
    return {**place, "width": canvas.width, "height": canvas.height, "pictures": images}


def _write_page(batch: Batch) -> None:
    weights, sampler, task = batch.model.weights, batch.sampler, batch.request.task
    facts = {
        "model": weights.absolute().parent.name if weights.name == "model.safetensors" else weights.name,
        "sampler": f"{sampler.kind}, {sampler.steps} steps" if sampler else "regression",
        "seed": str(batch.seed),
        "photos": str(len(batch.restored)),
    }
    write_text(batch.page, render(facts, batch.restored, TASKS[task].title, batch.failures))
