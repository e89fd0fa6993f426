"""`palette restore`: restoration of the user's photographs with a trained model."""

import argparse
from pathlib import Path

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
    from palette.restore import batch

    batch.run(arguments)
