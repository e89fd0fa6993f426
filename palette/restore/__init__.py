"""Restoration of your own photos with a trained model: `palette.load(...)`, `.restore(...)`."""

from palette.restore.canvas import Canvas, Request
from palette.restore.model import Model, load
from palette.restore.photo import Photo

__all__ = ["Canvas", "Model", "Photo", "Request", "load"]
