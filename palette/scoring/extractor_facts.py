"""The kinds of extractors: what each is called in the names of scores, and what it needs. Imports no torch, so that a plan is quick."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from palette.errors import ConfigError

CLASSES = 1000
"""Of ImageNet (ILSVRC 2012)."""
FIRST_CLASS, LAST_CLASS = "n01440764", "n15075141"
"""WordNet IDs of the first and the last of them, sorted: in this order the pretrained classifiers number their outputs."""


@dataclass(frozen=True)
class Kind:
    """What a kind of extractor is and needs."""

    label: str
    """In the names of scores: FD-DINOv2. Empty for those whose scores have names of their own."""
    package: str | None = None
    """Optional package, as it is imported."""
    smallest: int = 1
    """Smallest side of an image in pixels."""
    imagenet: bool = False
    """Whether it says nothing of other classes than ImageNet's."""
    classes: int = 1
    """Fewest classes that a dataset may have."""
    bare: bool = False
    """Whether it has no network: it leaves it at what is measured pixel by pixel."""
    pairs: bool = False
    """Whether it compares images two by two; it then measures the diversity of several draws too."""

    @property
    def features(self) -> bool:
        """Whether it gives features, in which sets of images are compared."""
        return not (self.imagenet or self.pairs or self.bare)


KINDS: dict[str, Kind] = {
    "photos": Kind("photos", classes=2),
    "pixels": Kind("", bare=True),
    "inception": Kind(""),
    "inception-legacy-tensorflow": Kind("legacy-tensorflow"),
    "inception-legacy-pytorch": Kind("legacy-pytorch"),
    "resnet50": Kind("ResNet-50", imagenet=True),
    "efficientnet-b0": Kind("EfficientNet-B0", imagenet=True),
    "dinov2": Kind("DINOv2", package="timm"),
    "lpips": Kind("", package="lpips", smallest=32, pairs=True),
    "ms-ssim": Kind("", package="pytorch_msssim", smallest=161, pairs=True),
}
"""Name in `score.extractors` → kind."""


def fewest_classes(kinds: Sequence[str]) -> int:
    """Return how many classes a dataset needs at least to be measured with all of these."""
    return max((CLASSES if KINDS[kind].imagenet else KINDS[kind].classes for kind in kinds), default=1)


def is_imagenet(classes: Sequence[str]) -> bool:
    """Whether sorted class names are the WordNet IDs of ImageNet's 1000 classes, so that label k is output k of its classifiers.

    Looks at their number, form, order and ends.
    """
    return (
        len(classes) == CLASSES
        and (classes[0], classes[-1]) == (FIRST_CLASS, LAST_CLASS)
        and all(len(name) == 9 and name[0] == "n" and name[1:].isdigit() for name in classes)
        and list(classes) == sorted(set(classes))
    )


def unable(kind: str, image_size: int, classes: Sequence[str] | None) -> str | None:
    """Why this kind of extractor cannot measure a dataset; None if it can.

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
