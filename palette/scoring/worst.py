"""The test images with the worst results of a row."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from palette.scoring.frechet import Floats
from palette.scoring.metrics import METRICS, Measured, Settings, name_and_label, perceptual_distances

DISTANCES = ("pd", "lpips", "ms-ssim", "psnr")
"""The worst images are chosen by the first of these metrics that was measured."""
KEPT = 32
"""Number of images to list: the most that a figure shows."""


def rankings(measured: Measured, extractor: str, settings: Settings) -> dict[str, dict[str, Any]]:
    """Return a ranking by each of DISTANCES that this extractor gives.

    Each has the score's name, and the numbers and values of its worst images, worst first.
    """
    found = {metric: _values(metric, measured, settings) for metric in DISTANCES}
    return {metric: _entry(metric, extractor, values) for metric, values in found.items() if values is not None}


def first(ranked: Mapping[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Return the ranking that determines the worst images."""
    return next((ranked[metric] for metric in DISTANCES if metric in ranked), None)


def _values(metric: str, measured: Measured, settings: Settings) -> Floats | None:
    if metric == "pd":
        return perceptual_distances(measured, settings)
    return measured.own.get(metric)


def _entry(metric: str, extractor: str, values: Floats) -> dict[str, Any]:
    key, label = name_and_label(metric, extractor)
    badness = values if METRICS[metric].better == "lower" else -values
    order = [item for item in np.argsort(-badness, kind="stable").tolist() if np.isfinite(values[item])][:KEPT]
    return {
        "score": key,
        "label": label,
        "digits": METRICS[metric].digits,
        "images": order,
        "values": [float(values[item]) for item in order],
    }
