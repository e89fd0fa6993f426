"""`palette restore`: one's own photographs through a trained model."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from palette.config.sampling import Sampler
    from palette.data.depth import Range
    from palette.progress import Progress
    from palette.publish.restored import Restored
    from palette.restoration import Canvas, Model, Request

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


def run(arguments: argparse.Namespace) -> None:
    """Restore all photos, as far as they can be read, and write the page."""
    from palette.errors import DataError, Interrupted
    from palette.restoration.files import PAGE
    from palette.stage import say

    work = _plan(arguments)
    interrupted = False
    try:
        for photo, name in work.photos:
            _restore(work, photo, name)
    except KeyboardInterrupt:
        interrupted = True
    if work.done:
        _write_page(work)
        say(f"open {work.out / PAGE}")
    if interrupted:
        raise Interrupted(f"interrupted after {len(work.done)} of {len(work.photos)} photos; --force starts anew.")
    if work.failures:
        count = f"{len(work.failures)} of {len(work.photos)} photos could not be restored"
        raise DataError("\n  ".join([f"{count}:", *work.failures]))


def _count(number: int, of: str) -> str:
    return f"{number} {of}{'s' * (number != 1)}"


@dataclass
class Work:
    """A call of the command."""

    model: "Model"
    request: "Request"
    sampler: "Sampler | None"
    samples: int
    seed: int
    batch: int | None
    value_range: "Range | None"
    out: Path
    photos: list[tuple[Path, str]]
    """Each with the name of its results."""
    progress: "Progress"
    done: "list[Restored]" = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def _plan(arguments: argparse.Namespace) -> Work:
    """All that can be found wrong before the first photo is."""
    from palette import processor
    from palette.progress import Progress
    from palette.restoration import Request, load
    from palette.restoration.files import PAGE, check_results, passed_over, photos_in, result_names, result_path
    from palette.restoration.photo import pixels_of, require_range
    from palette.stage import say

    processor.keep_memory()
    value_range = tuple(arguments.range) if arguments.range else None
    require_range(value_range)
    photos = photos_in(arguments.images, arguments.out)
    model = load(arguments.model)
    if arguments.mask:
        pixels_of(arguments.mask)  # it concerns every photo, so it must be readable
    task = model.task_of(arguments.task)
    request = Request(task, arguments.size, arguments.mask, arguments.extend, arguments.factor, arguments.filter)
    sampler = model.sampler_of(arguments.sampler, arguments.steps)
    samples = model.samples_of(arguments.samples, arguments.batch)
    names = result_names(photos)
    results = [result_path(arguments.out, name, number) for name in names for number in range(samples)]
    inputs = [*photos, model.weights, *([arguments.mask] if arguments.mask else [])]
    check_results([*results, arguments.out / PAGE], inputs, arguments.force)
    total = len(photos) * samples * (sampler.evaluations if sampler else 1)
    if others := passed_over(arguments.images, arguments.out):
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        say(f"no pictures by their endings, and passed over: {', '.join(others[:5])}{more}")
    say(f"{task}: {_count(len(photos), 'photo')}, {_count(samples, 'sample')} each, on {model.device}")
    return Work(
        model=model,
        request=request,
        sampler=sampler,
        samples=samples,
        seed=arguments.seed,
        batch=arguments.batch,
        value_range=value_range,
        out=arguments.out,
        photos=list(zip(photos, names, strict=True)),
        progress=Progress("restore", total, "evaluations"),
    )


def _restore(work: Work, photo: Path, name: str) -> None:
    """Restore one photo and write its samples; what is wrong with it is noted."""
    import numpy as np

    from palette.errors import DataError
    from palette.restoration.photo import picture_of
    from palette.stage import say

    before, each = work.progress.done, work.progress.total // len(work.photos)
    try:
        picture = picture_of(photo, value_range=work.value_range)
        ready = work.model.canvas(np.array(picture.pixels), work.request)
        if picture.lost:
            say(f"{photo}: read as 8-bit RGB on white; worth a look: {picture.lost}")
        _hint(work, photo, min(picture.pixels.size), min(ready.width, ready.height))
        work.done.append(_drawn(work, photo, name, ready))
    except DataError as error:
        text = str(error)
        work.failures.append(text if str(photo) in text else f"{photo}: {text}")
        work.progress.advance(before + each - work.progress.done, note=f"{photo} failed")


def _drawn(work: Work, photo: Path, name: str, ready: "Canvas") -> "Restored":
    from palette.publish.restored import Restored, shown
    from palette.restoration.files import result_path, write_png

    pictures = [shown(ready.shown, f"{photo.name}: input")]

    def watch(evaluation: int, state: "Tensor", estimate: "Tensor") -> None:
        work.progress.advance(len(state), note=str(photo))

    drawn = work.model.draw(ready, work.samples, work.seed, work.sampler, work.batch, watch)
    for number, image in enumerate(drawn):
        path = result_path(work.out, name, number)
        write_png(path, image)
        pictures.append(shown(image, f"{photo.name}: sample {number}", path.name))
    return Restored(photo.name, str(photo.parent), ready.width, ready.height, pictures)


def _hint(work: Work, photo: Path, before: int, after: int) -> None:
    """Artifacts of JPEG are as large as pixels."""
    from palette.stage import say

    if work.request.task == "jpeg" and work.request.size is None and after < before and not work.done:
        say(
            f"{photo}: made smaller, from {before} to {after} pixels, artifacts and all. `--size full` keeps its pixels."
        )


def _write_page(work: Work) -> None:
    from palette.files import write_text
    from palette.publish.lines import TITLES
    from palette.publish.restored import render
    from palette.restoration.files import PAGE

    weights, sampler = work.model.weights, work.sampler
    facts = [
        ("model", weights.absolute().parent.name if weights.name == "model.safetensors" else weights.name),
        ("sampler", f"{sampler.kind}, {sampler.steps} steps" if sampler else "regression"),
        ("seed", str(work.seed)),
        ("photos", str(len(work.done))),
    ]
    title = TITLES.get(work.request.task, work.request.task.capitalize())
    write_text(work.out / PAGE, render(title, facts, work.done, work.failures))
