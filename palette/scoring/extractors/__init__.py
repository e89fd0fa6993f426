"""Extractors, which measure images. Each module in this folder has a table `EXTRACTORS` of one or more, found by listing.

Importing them imports no torch, so that planning is fast: a loader imports what it needs when it is called.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from palette.errors import ConfigError
from palette.scoring.weights import Weights

if TYPE_CHECKING:
    import torch

Pixels = npt.NDArray[np.uint8]
Arrays = dict[str, npt.NDArray[Any]]
Prepare = Callable[[Pixels], npt.NDArray[Any]]
"""Image uint8 [H,W,3] → the network's input, an array of a fixed shape; runs in threads."""
Measure = Callable[[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.int64]], Arrays]
"""(outputs [B,…], originals [B,…], labels int64 [B]) → measurements, each [B,…].
Inputs are prepared. The originals are those of the outputs; only extractors of `pairs` use them."""

CLASSES = 1000
"""Number of classes of ImageNet (ILSVRC 2012)."""
FIRST_CLASS, LAST_CLASS = "n01440764", "n15075141"
"""WordNet IDs of its first and last class, sorted; the pretrained classifiers number their outputs in this order."""


@dataclass(frozen=True)
class Source:
    """Files and settings from which a network is loaded."""

    folder: Path
    """Folder of the extractor stage."""
    description: dict[str, Any]
    """The stage's `extractor.json`."""
    weights: Path | None
    """The pretrained file."""
    device: "torch.device"


@dataclass(frozen=True)
class Extractor:
    """Everything about an extractor."""

    load: Callable[[Source], tuple[Prepare, Measure]]
    resize: str = "none"
    """How it resizes images; part of a score's protocol."""
    label: str = ""
    """Part of the names of its scores: FD-DINOv2. Empty if its scores have names of their own."""
    weights: Weights | None = None
    flops: float = 0.0
    """FLOP per image, at the network's own input size, as torch counts them on the architecture."""
    flops_per_pixel: float = 0.0
    """FLOP per pixel, for both images of a pair, of a network that takes images at their own size."""
    trained_flops_per_pixel: Callable[[int], float] | None = None
    """Number of channels → FLOP per pixel, of a network that is trained here."""
    package: str | None = None
    """Import name of the optional package that it needs."""
    smallest: int = 1
    """Smallest side of an image in pixels."""
    imagenet: bool = False
    """True if it only knows ImageNet's classes."""
    classes: int = 1
    """Minimum number of classes of a dataset."""
    bare: bool = False
    """True if it has no network and only the pixel-by-pixel measures are used."""
    pairs: bool = False
    """True if it compares two images at a time; it then also measures the diversity of several draws."""
    chain: bool = False
    """True if diversity is measured between consecutive draws, instead of between the first and each other one."""

    @property
    def features(self) -> bool:
        """True if it gives features, by which sets of images are compared."""
        return not (self.imagenet or self.pairs or self.bare)


def fewest_classes(kinds: Sequence[str]) -> int:
    """Return the minimum number of classes a dataset needs to be measured with all of these."""
    return max((CLASSES if EXTRACTORS[kind].imagenet else EXTRACTORS[kind].classes for kind in kinds), default=1)


def is_imagenet(classes: Sequence[str]) -> bool:
    """Return whether sorted class names are the WordNet IDs of ImageNet's 1000 classes, so that label k is output k.
    Checks their number, form, order and ends."""
    return (
        len(classes) == CLASSES
        and (classes[0], classes[-1]) == (FIRST_CLASS, LAST_CLASS)
        and all(len(name) == 9 and name[0] == "n" and name[1:].isdigit() for name in classes)
        and list(classes) == sorted(set(classes))
    )


def unable(kind: str, image_size: int, classes: Sequence[str] | None) -> str | None:
    """Return why this kind of extractor cannot measure a dataset; None if it can.
    image_size: side of its images in pixels. classes: their names, sorted; None if they are not known yet."""
    extractor = EXTRACTORS[kind]
    if image_size < extractor.smallest:
        return f"it needs images of at least {extractor.smallest} pixels, and these have {image_size}"
    if classes is not None and len(classes) < extractor.classes:
        return (
            f"it tells classes apart and needs at least {extractor.classes} of them, and this dataset has {len(classes)}. Sort the images "
            "into one sub-folder per class, or take `extractors: [pixels]`, which needs neither classes nor weights"
        )
    if extractor.imagenet and classes is not None and not is_imagenet(classes):
        return (
            f"it knows ImageNet's {CLASSES} classes, in folders named by their WordNet IDs ({FIRST_CLASS} to {LAST_CLASS}), "
            f"and this dataset has {len(classes)} other classes"
        )
    return None


def require_packages(kinds: Sequence[str]) -> None:
    """Raise ConfigError if the optional package of an extractor is not installed."""
    for kind in kinds:
        package = EXTRACTORS[kind].package
        if package and find_spec(package) is None:
            raise ConfigError(
                f"score.extractors: {kind!r} needs the package {package}, which is not installed. "
                "Install the optional packages: pip install 'palette-diffusion[scores]'"
            )


EXTRACTORS: dict[str, Extractor] = {
    kind: extractor
    for file in sorted(Path(__file__).parent.glob("[!_]*.py"))
    for kind, extractor in import_module(f"{__name__}.{file.stem}").EXTRACTORS.items()
}
"""Name in `score.extractors` → extractor."""
WEIGHTS: dict[str, Weights] = {kind: e.weights for kind, e in EXTRACTORS.items() if e.weights is not None}
"""Extractor → its file of pretrained weights."""
