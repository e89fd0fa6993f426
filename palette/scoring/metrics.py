"""Scores: each a function of an extractor's measurements and its row in `METRICS`; and the images with the worst of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from palette.scoring.extractors import EXTRACTORS
from palette.scoring.frechet import Floats, distance, gaussian, standard_error
from palette.scoring.pixels import PIXEL_METRICS
from palette.scoring.reference import Statistics, summarize
from palette.scoring.statistics import (
    T95,
    bootstrap,
    in_manifold,
    inception_scores,
    jackknife,
    jackknife_groups,
    kernel_sums,
    normal,
)

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Measured:
    """Measurements of one extractor on N images (see `features.measure`), in memory or on disk.

    A score whose array is missing is left out. own: the images. originals: the corresponding originals, item by item.
    reference: the set that the images are compared with as a whole; None: the originals. known: the statistics of that
    set, or None to compute them.
    """

    own: Arrays
    originals: Arrays
    reference: Arrays | None = None
    known: Statistics | None = None

    @property
    def against(self) -> Arrays:
        return self.originals if self.reference is None else self.reference

    @cached_property
    def statistics(self) -> Statistics:
        """Statistics of the reference set."""
        return summarize(self.against) if self.known is None else self.known

    @property
    def paired(self) -> bool:
        """True if item i of the reference set is the original of image i, also if that set has a separate name."""
        return self.reference is None or np.array_equal(self.own["item"], self.reference["item"])


@dataclass(frozen=True)
class Settings:
    """Options of the statistics."""

    is_splits: int = 10
    bootstrap: int = 200
    """Resamples of a mean; 0 disables all intervals."""
    pd: Literal["euclidean", "squared"] = "euclidean"


@dataclass(frozen=True)
class Score:
    """A value with its 95 % interval, None if there is none, and the number of images behind it."""

    value: float
    interval: tuple[float, float] | None
    images: int
    enough: bool = True


@dataclass(frozen=True)
class Metric:
    """Definition of a score: how it is computed, named and interpreted."""

    function: Callable[[Measured, Settings], Score | None]
    """Called if `needs` was measured. Returns None if there is no score even so."""
    needs: str
    """Name of the array of measurements that it needs."""
    label: str
    better: Literal["lower", "higher", "reference"]
    """`reference`: the closer to the originals' value, the better."""
    digits: int
    """Decimals to print."""
    about: str

    @property
    def network(self) -> bool:
        """True if the score depends on the feature network, which is then part of its name."""
        return self.needs in ("features", "spatial", "probabilities", "correct")


FEW = 30
"""Minimum number of images for a reliable mean over images."""
NEIGHBORHOOD = 1000
"""Minimum number of images for reliable precision and recall: with fewer, the balls that form a manifold are wide."""


def frechet(name: str, measured: Measured, settings: Settings) -> Score:
    """Compute the Fréchet distance of the features, or of the spatial features, to the reference."""
    own, against = measured.own[name], measured.against[name]
    found = distance(gaussian(own), measured.statistics.gaussians[name])
    interval = None
    if settings.bootstrap and jackknife_groups(len(own)) is not None:
        error = standard_error(found, own, against if measured.paired else None)
        interval = normal(found.value, error, least=0.0)
    full_rank = len(own) >= 2 * own.shape[1]  # with a margin
    return Score(found.value, interval, len(own), enough=full_rank)


def kid(measured: Measured, settings: Settings) -> Score:
    """Compute the kernel distance to the reference."""
    own, against = measured.own["features"], measured.against["features"]
    sums = kernel_sums(own, against, measured.paired, measured.statistics.kernels)
    error = sums.standard_error if settings.bootstrap else None
    interval = None if error is None else normal(sums.distance, error, width=T95)
    return Score(sums.distance, interval, len(own), enough=len(own) >= FEW)


def inception(measured: Measured, settings: Settings) -> Score:
    """Compute the Inception Score."""
    probabilities = measured.own["probabilities"]
    groups = jackknife_groups(len(probabilities)) if settings.bootstrap else None
    values = inception_scores(probabilities, settings.is_splits, groups)
    count, classes = probabilities.shape
    return Score(values[0], jackknife(values), count, enough=count >= max(10 * classes, 50) * settings.is_splits)


def ca(measured: Measured, settings: Settings) -> Score:
    """Compute the classification accuracy in percent."""
    return _mean(100.0 * measured.own["correct"], settings)


def pd(measured: Measured, settings: Settings) -> Score:
    """Compute the perceptual distance, mean over images."""
    return _mean(perceptual_distances(measured, settings), settings)


def perceptual_distances(measured: Measured, settings: Settings) -> Floats:
    """Return the Euclidean distance between the features of each output and its original, or its square: [N]."""
    own, originals = measured.own["features"], measured.originals["features"]
    squared = np.array([np.sum((a.astype(np.float64) - b) ** 2) for a, b in zip(own, originals, strict=True)])
    return squared if settings.pd == "squared" else np.sqrt(squared)


def precision(measured: Measured, settings: Settings) -> Score:
    """Compute the fraction of the outputs that lie in the manifold of the reference."""
    own, against = measured.own["features"], measured.against["features"]
    return _mean(in_manifold(own, against, measured.statistics.neighborhoods), settings, enough=NEIGHBORHOOD)


def recall(measured: Measured, settings: Settings) -> Score:
    """Compute the fraction of the reference that lies in the manifold of the outputs."""
    return _mean(in_manifold(measured.against["features"], measured.own["features"]), settings, enough=NEIGHBORHOOD)


def chroma_ratio(measured: Measured, settings: Settings) -> Score | None:
    """Compute the mean chroma divided by the originals' mean chroma; None for gray originals."""
    reference = measured.originals["chroma"].mean()
    return _mean(measured.own["chroma"] / reference, settings) if reference > 0 else None


def of_images(name: str, measured: Measured, settings: Settings) -> Score:
    """Compute the mean of a measurement of each image; infinite if one is."""
    return _mean(measured.own[name], settings)


def of_draws(name: str, measured: Measured, settings: Settings) -> Score | None:
    """Compute the mean over inputs of the mean over pairs of draws. One image is one input."""
    pairs = measured.own[name]
    return _mean(pairs.mean(1), settings) if pairs.size else None


def _mean(values: npt.NDArray[Any], settings: Settings, enough: int = FEW) -> Score:
    numbers: Floats = values.astype(np.float64)
    interval = bootstrap(numbers, settings.bootstrap)
    return Score(float(numbers.mean()), interval, len(numbers), enough=len(numbers) >= enough)


METRICS: dict[str, Metric] = {
    "fd": Metric(
        partial(frechet, "features"),
        "features",
        "FD",
        "lower",
        2,
        "Fréchet distance between the features of the outputs and of the reference",
    ),
    "sfid": Metric(
        partial(frechet, "spatial"),
        "spatial",
        "sFID",
        "lower",
        2,
        "Fréchet distance between features that keep their place in the image, 7 channels of mixed_6/conv",
    ),
    "kid": Metric(
        kid, "features", "KID", "lower", 4, "kernel distance between the features of the outputs and of the reference"
    ),
    "precision": Metric(
        precision,
        "features",
        "precision",
        "higher",
        3,
        "share of the outputs whose features lie among those of the reference, k = 3",
    ),
    "recall": Metric(
        recall,
        "features",
        "recall",
        "higher",
        3,
        "share of the reference whose features lie among those of the outputs, k = 3",
    ),
    "is": Metric(
        inception,
        "probabilities",
        "IS",
        "higher",
        2,
        "Inception Score: how sure the network is of each image, and how varied the images are",
    ),
    "ca": Metric(ca, "correct", "CA %", "higher", 1, "share of the outputs whose class the network names"),
    "pd": Metric(
        pd,
        "features",
        "PD",
        "lower",
        3,
        "distance between the features of an output and of its original, mean over images; the paper leaves the kind of distance open",
    ),
    "lpips": Metric(
        partial(of_images, "lpips"),
        "lpips",
        "LPIPS",
        "lower",
        3,
        "learned perceptual distance to the original (AlexNet), mean over images",
    ),
    "ms-ssim": Metric(
        partial(of_images, "ms-ssim"),
        "ms-ssim",
        "MS-SSIM",
        "higher",
        3,
        "structural similarity to the original on five scales, mean over images",
    ),
    "diversity-ms-ssim": Metric(
        partial(of_draws, "diversity-ms-ssim"),
        "diversity-ms-ssim",
        "MS-SSIM between draws",
        "lower",
        3,
        "MS-SSIM of the first sample of an input and each further one, mean over samples and inputs; low is diverse",
    ),
    "diversity-lpips": Metric(
        partial(of_draws, "diversity-lpips"),
        "diversity-lpips",
        "LPIPS between draws",
        "higher",
        3,
        "LPIPS between consecutive samples of an input, mean over samples and inputs; high is diverse",
    ),
    **{
        name: Metric(partial(of_images, name), name, metric.label, metric.better, metric.digits, metric.about)
        for name, metric in PIXEL_METRICS.items()
    },
    "chroma-ratio": Metric(
        chroma_ratio, "chroma", "chroma ratio", "reference", 2, "mean chroma over the originals' mean chroma"
    ),
}
"""Name → score. Names of scores with a feature network get its name appended: see `name_and_label`."""

PROPER = {"fd": ("fid", "FID")}
"""Names that a score has only with clean-fid's Inception network."""


def name_and_label(name: str, extractor: str) -> tuple[str, str]:
    """Return the name and label of score `name` with a feature network.

    (`fid`, `FID`) with inception, (`fd-dinov2`, `FD-DINOv2`) with dinov2. The legacy modes of clean-fid are FID too:
    (`fid-legacy-pytorch`, `FID-legacy-pytorch`).
    """
    metric = METRICS[name]
    if not metric.network:
        return name, metric.label
    key, label = PROPER.get(name, (name, metric.label)) if extractor.startswith("inception") else (name, metric.label)
    suffix = extractor.removeprefix("inception").removeprefix("-")
    if not suffix:
        return key, label
    word, *unit = label.split(" ")
    return f"{key}-{suffix}", " ".join([f"{word}-{EXTRACTORS[extractor].label}", *unit])


def score(measured: Measured, extractor: str, settings: Settings) -> dict[str, dict[str, Any]]:
    """Return all scores that this extractor supports, in the format of `scores.json`. value is null if it is infinite;
    low and high are null without an interval; `small` marks too few images for a reliable score."""
    entries = {}
    for name, metric in METRICS.items():
        result = metric.function(measured, settings) if metric.needs in measured.own else None
        if result is not None:
            key, label = name_and_label(name, extractor)
            entries[key] = {
                "value": result.value if np.isfinite(result.value) else None,
                "low": result.interval[0] if result.interval else None,
                "high": result.interval[1] if result.interval else None,
                "images": result.images,
                **({} if result.enough else {"small": True}),
                "metric": name,
                "label": label,
                "better": metric.better,
                "digits": metric.digits,
                "about": metric.about,
            }
    return entries


DISTANCES = ("pd", "lpips", "ms-ssim", "psnr")
"""The worst images are chosen by the first of these metrics that was measured."""
WORST = 32
"""Number of images to list: the most that a figure shows."""


def rankings(measured: Measured, extractor: str, settings: Settings) -> dict[str, dict[str, Any]]:
    """Return a ranking by each of DISTANCES that this extractor gives.
    Each has the score's name, and the numbers and values of its worst images, worst first."""
    values = {name: measured.own[name] for name in DISTANCES if name in measured.own}
    if "features" in measured.own:
        values["pd"] = perceptual_distances(measured, settings)
    return {name: _ranking(name, extractor, found) for name, found in values.items()}


def worst(ranked: Mapping[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Return the ranking that chooses the worst images; None if nothing was ranked."""
    return next((ranked[metric] for metric in DISTANCES if metric in ranked), None)


def _ranking(name: str, extractor: str, values: Floats) -> dict[str, Any]:
    key, label = name_and_label(name, extractor)
    badness = values if METRICS[name].better == "lower" else -values
    order = [item for item in np.argsort(-badness, kind="stable").tolist() if np.isfinite(values[item])][:WORST]
    return {
        "score": key,
        "label": label,
        "digits": METRICS[name].digits,
        "images": order,
        "values": [float(values[item]) for item in order],
    }
