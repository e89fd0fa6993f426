"""JPEG restoration: remove compression artifacts.

The training quality Q is drawn with probability ∝ exp(-Q/10) from 5 to 30 (as in the paper). The paper states neither
whether the endpoints are included nor the encoder: here both are included, and Pillow's libjpeg encodes with the
standard tables and 4:2:0 chroma subsampling.
"""

import io

import numpy as np
from PIL import Image as Pictures

from palette.data.images.degraded import Degraded, Evaluation, Image, Strength

TITLE, LABEL = "JPEG restoration", "quality {}"
STRENGTH = Strength(
    "quality", 10, 1, 95, "Evaluation quality of JPEG. Default: 10. The paper's tables use 5, 10 and 20."
)
QUALITIES = np.arange(5, 31)
PROBABILITIES = np.exp(-QUALITIES / 10) / np.exp(-QUALITIES / 10).sum()


def compress(image: Image, quality: int) -> Image:
    """Return `image` after encoding with `quality` (1 to 95) and decoding: uint8 [H, W, 3] → uint8 [H, W, 3]."""
    file = io.BytesIO()
    Pictures.fromarray(image).save(file, format="JPEG", quality=quality, subsampling="4:2:0")
    with Pictures.open(file) as decoded:
        return np.asarray(decoded).copy()


def draw_quality(generator: np.random.Generator) -> int:
    return int(generator.choice(QUALITIES, p=PROBABILITIES))


def train(image: Image, generator: np.random.Generator, condition: Image | None = None) -> Degraded:
    """Return the image compressed with a random quality, with every pixel to be generated."""
    return Degraded(compress(image, draw_quality(generator)), None)


def evaluate(image: Image, generator: np.random.Generator, how: Evaluation) -> Degraded:
    assert how.strength is not None
    return Degraded(compress(image, int(how.strength)), None)
