"""A trained model for one's own photographs: `palette.load(...)`, `.restore(...)`."""

from palette.restoration.canvas import Canvas, Request
from palette.restoration.model import Model, load
from palette.restoration.photo import Photo

__all__ = ["Canvas", "Model", "Photo", "Request", "load"]
