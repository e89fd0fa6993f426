"""The scores: each a function of what was measured, with how it is named, read and printed. A new score is a row of METRICS."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from palette.scoring.statistics import (
    Floats,
    bootstrap,
    frechet_distance,
    inception_score,
    jackknife,
    jackknife_groups,
    kernel_distances,
    leave_out,
)


@dataclass(frozen=True)
class Measured:
    """What was measured on N images, and on the originals that they should resemble, item by item.

    features, reference: float64 [N,D]. probabilities: float64 [N,K]. correct: bool [N], or None if the network does not know the classes.
    psnr (dB), ssim, chroma, reference_chroma: float64 [N].
    """

    features: Floats
    reference: Floats
    probabilities: Floats
    correct: npt.NDArray[np.bool_] | None
    psnr: Floats
    ssim: Floats
    chroma: Floats
    reference_chroma: Floats

    @property
    def count(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class Settings:
    """Options of the statistics."""

    is_splits: int = 10
    bootstrap: int = 200
    """Resamples of a mean; 0 leaves out all intervals."""


@dataclass(frozen=True)
class Score:
    """A value with its 95 % interval, None if there is none."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Metric:
    """How a score is made, named and read."""

    function: Callable[[Measured, Settings], Score | None]
    """None: it cannot be measured here."""
    label: str
    better: Literal["lower", "higher", "reference"]
    """`reference`: the closer to the originals' value, the better."""
    digits: int
    """Decimals to print."""
    about: str
    enough: Callable[[Measured, Settings], int] = lambda _, __: 30
    """Number of images from which on it can be trusted."""
    network: bool = True
    """Whether it depends on the feature network, which then stands in its name."""


def fd(measured: Measured, settings: Settings) -> Score:
    """Fréchet distance to the originals."""

    def statistic(kept: npt.NDArray[np.int64]) -> float:
        return frechet_distance(measured.features[kept], measured.reference[kept])

    return _of_set(leave_out(statistic, measured.count, _groups(measured, settings)))


def kid(measured: Measured, settings: Settings) -> Score:
    """Kernel distance to the originals."""
    return _of_set(kernel_distances(measured.features, measured.reference, _groups(measured, settings)))


def inception(measured: Measured, settings: Settings) -> Score:
    """Inception Score."""

    def statistic(kept: npt.NDArray[np.int64]) -> float:
        return inception_score(measured.probabilities[kept], settings.is_splits)

    return _of_set(leave_out(statistic, measured.count, _groups(measured, settings)))


def ca(measured: Measured, settings: Settings) -> Score | None:
    """Classification accuracy, in percent."""
    return None if measured.correct is None else _mean(100.0 * measured.correct.astype(np.float64), settings)


def pd(measured: Measured, settings: Settings) -> Score:
    """Perceptual distance: Euclidean distance between the features of an output and of its original, mean over images."""
    squared: Floats = np.sum((measured.features - measured.reference) ** 2, axis=1)
    return _mean(np.sqrt(squared), settings)


def psnr(measured: Measured, settings: Settings) -> Score:
    """Mean PSNR, infinite if an image equals its original."""
    return _mean(measured.psnr, settings)


def ssim(measured: Measured, settings: Settings) -> Score:
    """Mean SSIM."""
    return _mean(measured.ssim, settings)


def chroma(measured: Measured, settings: Settings) -> Score:
    """Mean chroma."""
    return _mean(measured.chroma, settings)


def chroma_ratio(measured: Measured, settings: Settings) -> Score | None:
    """Mean chroma over the originals' mean chroma; None for gray originals."""
    reference = measured.reference_chroma.mean()
    return _mean(measured.chroma / reference, settings) if reference > 0 else None


def _mean(values: Floats, settings: Settings) -> Score:
    return Score(float(values.mean()), bootstrap(values, settings.bootstrap))


def _of_set(values: list[float]) -> Score:
    return Score(values[0], jackknife(values))


def _groups(measured: Measured, settings: Settings) -> list[npt.NDArray[np.int64]]:
    return jackknife_groups(measured.count) if settings.bootstrap else []


METRICS: dict[str, Metric] = {
    "fd": Metric(
        fd,
        "FD",
        "lower",
        2,
        "Fréchet distance between the features of the outputs and of the originals",
        enough=lambda measured, _: 2 * measured.features.shape[1],  # covariances of full rank, with a margin
    ),
    "kid": Metric(kid, "KID", "lower", 4, "kernel distance between the features of the outputs and of the originals"),
    "is": Metric(
        inception,
        "IS",
        "higher",
        2,
        "Inception Score: how sure the network is of each image, and how varied the images are",
        enough=lambda measured, settings: max(10 * measured.probabilities.shape[1], 50) * settings.is_splits,
    ),
    "ca": Metric(ca, "CA %", "higher", 1, "share of the outputs whose class the network names"),
    "pd": Metric(
        pd,
        "PD",
        "lower",
        3,
        "Euclidean distance between the features of an output and of its original, mean over images; "
        "the paper leaves the kind of distance open",
    ),
    "psnr": Metric(
        psnr, "PSNR", "higher", 2, "peak signal-to-noise ratio to the original in dB, mean over images", network=False
    ),
    "ssim": Metric(ssim, "SSIM", "higher", 3, "structural similarity to the original, mean over images", network=False),
    "chroma": Metric(
        chroma,
        "chroma",
        "reference",
        1,
        "mean of √(Cb² + Cr²) over pixels and images, on [0,255]; gray is 0",
        network=False,
    ),
    "chroma-ratio": Metric(
        chroma_ratio, "chroma ratio", "reference", 2, "mean chroma over the originals' mean chroma", network=False
    ),
}
"""Name → score. Names with a feature network get its name too: see `name_and_label`."""

PROPER = {"fd": ("fid", "FID")}
"""Names that a score has only with the Inception network through clean-fid."""


def name_and_label(name: str, extractor: str) -> tuple[str, str]:
    """How score `name` is called with a feature network: (`fid`, `FID`) with inception, (`fd-photos`, `FD-photos`) with photos."""
    metric = METRICS[name]
    if not metric.network:
        return name, metric.label
    if extractor == "inception":
        return PROPER.get(name, (name, metric.label))
    first, *unit = metric.label.split(" ")
    return f"{name}-{extractor}", " ".join([f"{first}-{extractor}", *unit])


def score(measured: Measured, extractor: str, settings: Settings) -> dict[str, dict[str, Any]]:
    """All scores that this extractor gives, as they stand in `scores.json`.

    value is null where it is infinite; low and high are null without an interval; `small` marks too few images for trust.
    """
    entries = {}
    for name, metric in METRICS.items():
        result = metric.function(measured, settings)
        if result is not None:
            key, label = name_and_label(name, extractor)
            entries[key] = {
                "value": result.value if np.isfinite(result.value) else None,
                "low": result.interval[0] if result.interval else None,
                "high": result.interval[1] if result.interval else None,
                **({"small": True} if measured.count < metric.enough(measured, settings) else {}),
                **{
                    "metric": name,
                    "label": label,
                    "better": metric.better,
                    "digits": metric.digits,
                    "about": metric.about,
                },
            }
    return entries
