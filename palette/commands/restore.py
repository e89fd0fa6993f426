"""`palette restore`: restoration of the user's photographs with a trained model."""

import argparse
import hashlib
import json
import math
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palette.config.sampling import Sampler
    from palette.data.images.depth import Range
    from palette.restore import Canvas, Model, Request
    from palette.restore.page import Restored
    from palette.system.progress import Progress

HELP = "restore your own photographs with a trained model"
EXAMPLE = "python -m palette restore --model results/train/photos-jpeg-palette-s0-1a2b3c4d5e photo.jpg -o restored"


def _size(text: str) -> int | str:
    if text != "full" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} should be a number of pixels or 'full'")
    return text if text == "full" else int(text)


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("images", nargs="+", type=Path, metavar="IMAGES", help="photographs, or folders of them")
    add("--model", type=Path, required=True, metavar="M", help="a model's folder, or its model.safetensors")
    add("--task", metavar="T", help="what to do; may be left out for a model of one task")
    add("-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the results")
    add("--force", action="store_true", help="replace results that are there already")
    add("--samples", type=int, default=4, metavar="N", help="results for each photo (default: %(default)s)")
    add("--sampler", metavar="KIND", help="ancestral, ddim, dpm++2m, dpm++2m-sde or heun (default: dpm++2m)")
    add("--steps", type=int, metavar="N", help="of the sampler (default: 20)")
    add("--seed", type=int, default=0, metavar="N", help="of the noise (default: %(default)s)")
    size = "short side of the results in pixels, or `full`: as the photo (default: that of the model's training)"
    add("--size", type=_size, metavar="N|full", help=size)
    add(
        "--mask",
        type=Path,
        metavar="FILE",
        help="inpainting: a picture as large as the photo, white or transparent where to generate",
    )
    resize = "how the photo is resized; `nearest` for label maps (default: lanczos)"
    add("--filter", default="lanczos", metavar="F", help=resize)
    values = "of photos of more than 8 bits: the values that are black and white (default: the range of their type, if filled)"
    add("--range", type=float, nargs=2, metavar=("BLACK", "WHITE"), help=values)
    extend = "uncropping: where; half of the result is new (default: right)"
    add("--extend", choices=("right", "left", "top", "bottom", "all"), help=extend)
    add("--factor", type=int, metavar="N", help="super-resolution: how many times as large (default: 4)")
    add("--batch", type=int, metavar="N", help="samples made at a time; fewer need less memory (default: by size)")
    add(
        "--hours",
        type=float,
        default=1.0,
        metavar="H",
        help="refuse what takes longer, by estimate (default: %(default)g)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Restore all photos that can be read, and write the page."""
    from palette.errors import DataError, Interrupted
    from palette.restore.files import PAGE
    from palette.system.progress import say

    work = _plan(arguments)
    interrupted = True
    try:
        with suppress(KeyboardInterrupt):
            for photo, name in work.photos:
                _restore(work, photo, name)
            interrupted = False
        if work.done:
            _write_page(work)
            say(f"open {work.out / PAGE}")
    except OSError as error:  # from the disk of the results: the next photo would fail too
        place, why = error.filename or work.out, error.strerror or error
        raise DataError(f"{place}: {why}. Finished results stay, and the same command goes on after them.") from None
    if interrupted:
        count = f"{len(work.done)} of {len(work.photos)} photos"
        raise Interrupted(f"interrupted after {count}; the same command goes on after the results that are finished.")
    if work.failures:
        count = f"{len(work.failures)} of {len(work.photos)} photos could not be restored"
        raise DataError("\n  ".join([f"{count}:", *work.failures]))


def _count(number: int, of: str) -> str:
    return f"{number} {of}{'s' * (number != 1)}"


@dataclass
class Work:
    """One call of the command."""

    model: "Model"
    request: "Request"
    sampler: "Sampler | None"
    samples: int
    seed: int
    batch: int | None
    value_range: "Range | None"
    out: Path
    photos: list[tuple[Path, str]]
    """Photos, each with the name of its results."""
    kept: dict[str, int] = field(default_factory=dict)
    """Name of results → number of samples, always the first ones, that an earlier run of the same command has left."""
    progress: "Progress" = field(init=False)
    """Progress in blocks of the network, because an evaluation of a large photo takes minutes."""
    blocks: int = 0
    """Number of blocks in the network."""
    current: str = ""
    """Path of the photo that is being restored."""
    done: "list[Restored]" = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def missing(self, name: str) -> int:
        """Return the number of evaluations of the network for the missing samples of one photo."""
        return (self.samples - self.kept.get(name, 0)) * (self.sampler.evaluations if self.sampler else 1)

    def results(self, name: str) -> list[Path]:
        """Return the result files of one photo, one per sample."""
        from palette.restore.files import result_path

        return [result_path(self.out, name, number) for number in range(self.samples)]

    @cached_property
    def identity(self) -> str:
        """Text that covers everything that determines a result except the photo and the number of the sample."""
        from palette.stages.fingerprint import fingerprint
        from palette.system.files import sha256

        mask = self.request.mask
        request = {**vars(self.request), "mask": sha256(mask) if isinstance(mask, Path) else None}
        sampler = self.sampler.model_dump() if self.sampler else None
        code = fingerprint("palette.restore.model")  # includes reading and resizing the photo
        model = [sha256(self.model.weights), self.model.facts.model_dump(mode="json")]
        return json.dumps([model, request, self.value_range, sampler, self.seed, code], sort_keys=True)

    def mark(self, photo: Path) -> str:
        """Return a digest of everything that determines the results of a photo. The results carry it."""
        from palette.system.files import sha256

        return hashlib.sha256(f"{self.identity} {sha256(photo)}".encode()).hexdigest()[:16]


def _plan(arguments: argparse.Namespace) -> Work:
    """Check everything that can be checked before the first photo is restored; return the work."""
    from palette.errors import listed
    from palette.restore import Request, load
    from palette.restore.files import PAGE, check_results, photos_in, result_names, skipped_files
    from palette.restore.photo import hole_of, require_range
    from palette.system import devices
    from palette.system.progress import say

    devices.use()
    value_range = tuple(arguments.range) if arguments.range else None
    require_range(value_range)
    photos = photos_in(arguments.images, arguments.out)
    model = load(arguments.model)
    if arguments.mask:
        hole_of(arguments.mask)  # fail now if it is not a mask, because every photo needs it
    task = model.task_of(arguments.task)
    work = Work(
        model=model,
        request=Request(task, arguments.size, arguments.mask, arguments.extend, arguments.factor, arguments.filter),
        sampler=model.sampler_of(arguments.sampler, arguments.steps),
        samples=model.samples_of(arguments.samples, arguments.batch),
        seed=arguments.seed,
        batch=arguments.batch,
        value_range=value_range,
        out=arguments.out,
        photos=list(zip(photos, result_names(photos), strict=True)),
    )
    ours = set() if arguments.force else _own_results(work)
    results = {path for _, name in work.photos for path in work.results(name)} | {work.out / PAGE}
    inputs = [*photos, model.weights, *([arguments.mask] if arguments.mask else [])]
    check_results(sorted(results), inputs, arguments.force, ours | ({work.out / PAGE} if ours else set()))
    if skipped := skipped_files(arguments.images, arguments.out):
        say(f"skipped (unsupported file extension): {listed(skipped, 5)}")
    say(f"{task}: {_count(len(photos), 'photo')}, {_count(work.samples, 'sample')} each, on {model.device}")
    if kept := sum(work.kept.values()):
        say(f"keeping {_count(kept, 'result')} of an earlier run of the same command")
    _estimate_time(work, arguments.hours)
    _show_progress(work)
    return work


def _own_results(work: Work) -> set[Path]:
    """Return the results that an earlier run of the same command has left.

    Records in `work.kept` how many of them need not be made again.
    """
    from palette.restore.files import has_mark, is_whole

    found: set[Path] = set()
    for photo, name in work.photos:
        there = [path for path in work.results(name) if path.exists()]
        mark = work.mark(photo) if there else ""
        found |= {path for path in there if has_mark(path, mark)}
        whole = (path in found and is_whole(path) for path in work.results(name))
        work.kept[name] = sum(takewhile(bool, whole))
    return found


def _estimate_time(work: Work, hours: float) -> None:
    """Print the estimated time. Raises ConfigError if it is more than `hours`."""
    from palette.errors import ConfigError, DataError
    from palette.restore.pace import measure
    from palette.restore.photo import size_of
    from palette.system.progress import say
    from palette.system.units import duration, rounded

    counts: Counter[int] = Counter()  # pixels → evaluations
    for photo, name in work.photos:
        with suppress(DataError):  # reported when its turn comes
            if size := size_of(photo):
                counts[work.model.pixels(*size, work.request)] += work.missing(name)
    if not counts.total():
        return
    pace = measure(work.model, max(counts))
    seconds, slowest = sum(pace(pixels) * count for pixels, count in counts.items()), pace(max(counts))
    evaluations = f"{_count(counts.total(), 'evaluation')} of the network, of up to {rounded(slowest)} s each"
    about = f"about {duration(max(1, seconds))}: {evaluations}"
    say(about)
    if not seconds <= 3600 * hours:  # also rejects NaN
        raise ConfigError(
            f"{about}. That is more than {hours:g} h: choose a smaller --size, fewer --samples or --steps, or allow it with "
            f"--hours {math.ceil(seconds / 3600)}."
        )


def _show_progress(work: Work) -> None:
    """Count each block of the network as it is computed."""
    from palette.model.blocks import Block
    from palette.system.progress import Progress

    blocks = [module for module in work.model.network.modules() if isinstance(module, Block)]
    work.blocks = len(blocks)
    evaluations = sum(work.missing(name) for _, name in work.photos)
    work.progress = Progress("restore", evaluations * work.blocks, "blocks")
    for block in blocks:
        block.register_forward_hook(
            lambda module, inputs, output: work.progress.advance(len(output), note=work.current)
        )


def _restore(work: Work, photo: Path, name: str) -> None:
    """Restore one photo and write its samples; record the error if it cannot be restored."""
    import numpy as np

    from palette.errors import DataError
    from palette.restore.photo import picture_of
    from palette.system.progress import say

    work.current, before = str(photo), work.progress.done
    try:
        picture = picture_of(photo, value_range=work.value_range)
        ready = work.model.canvas(np.array(picture.pixels), work.request)
        if picture.lost:
            say(f"{photo}: converted to 8-bit RGB on white, with losses: {picture.lost}")
        _hint(work, photo, min(picture.pixels.size), min(ready.width, ready.height))
        work.done.append(_drawn(work, photo, name, ready))
    except DataError as error:
        text = str(error)
        work.failures.append(text if str(photo) in text else f"{photo}: {text}")
        work.progress.advance(before + work.missing(name) * work.blocks - work.progress.done, note=f"{photo} failed")


def _drawn(work: Work, photo: Path, name: str, ready: "Canvas") -> "Restored":
    """Write the missing samples of a photo, and return its entry for the page."""
    from palette.restore.files import write_png
    from palette.restore.page import Restored, shown
    from palette.restore.photo import pixels_of

    paths, kept, mark = work.results(name), work.kept.get(name, 0), work.mark(photo)
    drawn = work.model.draw(ready, work.samples, work.seed, work.sampler, work.batch, first=kept)
    pictures = [shown(ready.shown, f"{photo.name}: input")]
    for number, path in enumerate(paths):
        if number < kept:
            image = pixels_of(path)
        else:
            image = next(drawn)
            write_png(path, image, mark)
        pictures.append(shown(image, f"{photo.name}: sample {number}", path.name))
    return Restored(photo.name, str(photo.parent), ready.width, ready.height, pictures)


def _hint(work: Work, photo: Path, before: int, after: int) -> None:
    """Print a hint, for the first photo only, if the `jpeg` task makes it smaller.

    JPEG artifacts have the size of pixels, so they become smaller too.
    """
    from palette.system.progress import say

    if work.request.task == "jpeg" and work.request.size is None and after < before and not work.done:
        say(
            f"{photo}: made smaller, from {before} to {after} pixels, artifacts and all. `--size full` keeps its pixels."
        )


def _write_page(work: Work) -> None:
    from palette.publish.tables.results import TITLES
    from palette.restore.files import PAGE
    from palette.restore.page import render
    from palette.system.files import write_text

    weights, sampler = work.model.weights, work.sampler
    facts = [
        ("model", weights.absolute().parent.name if weights.name == "model.safetensors" else weights.name),
        ("sampler", f"{sampler.kind}, {sampler.steps} steps" if sampler else "regression"),
        ("seed", str(work.seed)),
        ("photos", str(len(work.done))),
    ]
    title = TITLES.get(work.request.task, work.request.task.capitalize())
    write_text(work.out / PAGE, render(title, facts, work.done, work.failures))
