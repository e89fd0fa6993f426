"""The kinds of extractors: their names in scores and their requirements. Imports no torch, so that planning is fast."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from palette.errors import ConfigError

CLASSES = 1000
"""Number of classes of ImageNet (ILSVRC 2012)."""
FIRST_CLASS, LAST_CLASS = "n01440764", "n15075141"
"""WordNet IDs of its first and last class, sorted; the pretrained classifiers number their outputs in this order."""


@dataclass(frozen=True)
class Kind:
    """Properties and requirements of a kind of extractor."""

    label: str
    """Part of the names of its scores: FD-DINOv2. Empty if its scores have names of their own."""
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
    flops: float = 0
    """FLOP per image at the network's own input size, as torch counts them on the architecture."""
    flops_per_pixel: float = 0
    """FLOP per pixel, for both images of a pair, of a network that takes images at their own size."""

    @property
    def features(self) -> bool:
        """True if it gives features, by which sets of images are compared."""
        return not (self.imagenet or self.pairs or self.bare)


KINDS: dict[str, Kind] = {
    "photos": Kind("photos", classes=2),
    "pixels": Kind("", bare=True),
    "inception": Kind("", flops=11.43e9),
    "inception-legacy-tensorflow": Kind("legacy-tensorflow", flops=11.43e9),
    "inception-legacy-pytorch": Kind("legacy-pytorch", flops=11.43e9),
    "resnet50": Kind("ResNet-50", imagenet=True, flops=8.18e9),
    "efficientnet-b0": Kind("EfficientNet-B0", imagenet=True, flops=0.772e9),
    "dinov2": Kind("DINOv2", package="timm", flops=162e9),
    "lpips": Kind("", package="lpips", smallest=32, pairs=True, flops_per_pixel=53e3),
    "ms-ssim": Kind("", package="pytorch_msssim", smallest=161, pairs=True),
}
"""Name in `score.extractors` → kind."""


def photos_flops(channels: int) -> float:
    """Return the FLOP per pixel of the photo classifier (`palette.scoring.classifier`), from its four convolutions."""
    return 18.375 * channels + 3.9375 * channels**2


def fewest_classes(kinds: Sequence[str]) -> int:
    """Return the minimum number of classes a dataset needs to be measured with all of these."""
    return max((CLASSES if KINDS[kind].imagenet else KINDS[kind].classes for kind in kinds), default=1)


def is_imagenet(classes: Sequence[str]) -> bool:
    """Return whether sorted class names are the WordNet IDs of ImageNet's 1000 classes, so that label k is output k.

    Checks their number, form, order and ends.
    """
    return (
        len(classes) == CLASSES
        and (classes[0], classes[-1]) == (FIRST_CLASS, LAST_CLASS)
        and all(len(name) == 9 and name[0] == "n" and name[1:].isdigit() for name in classes)
        and list(classes) == sorted(set(classes))
    )


def unable(kind: str, image_size: int, classes: Sequence[str] | None) -> str | None:
    """Return why this kind of extractor cannot measure a dataset; None if it can.

    image_size: side of its images in pixels. classes: their names, sorted; None if they are not known yet.
    """
    facts = KINDS[kind]
    if image_size < facts.smallest:
        return f"it needs images of at least {facts.smallest} pixels, and these have {image_size}"
    if classes is not None and len(classes) < facts.classes:
        return (
            f"it tells classes apart and needs at least {facts.classes} of them, and this dataset has {len(classes)}. Sort the images into "
            "one sub-folder per class, or take `extractors: [pixels]`, which needs neither classes nor weights"
        )
    if facts.imagenet and classes is not None and not is_imagenet(classes):
        return (
            f"it knows ImageNet's {CLASSES} classes, in folders named by their WordNet IDs ({FIRST_CLASS} to {LAST_CLASS}), "
            f"and this dataset has {len(classes)} other classes"
        )
    return None


def require_packages(kinds: Sequence[str]) -> None:
    """Raise ConfigError if the optional package of an extractor is not installed."""
    for kind in kinds:
        package = KINDS[kind].package
        if package and find_spec(package) is None:
            raise ConfigError(
                f"score.extractors: {kind!r} needs the package {package}, which is not installed. "
                "Install the optional packages: pip install 'palette-diffusion[scores]'"
            )
