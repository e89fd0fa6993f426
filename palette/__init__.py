"""Palette: image-to-image diffusion models (Saharia et al. 2022).

model = palette.load("results/train/photos-colorization-palette-s0-1a2b3c4d5e")
images = model.restore("photo.jpg", samples=4)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palette.restore import Model, load

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "load"]


def __getattr__(name: str) -> object:
    """`load` and `Model`, whose imports take seconds, when they are first asked for."""
    if name in ("Model", "load"):
        return getattr(import_module("palette.restore"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
