"""The test images that a row does worst on."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from palette.scoring.frechet import Floats
from palette.scoring.metrics import METRICS, Measured, Settings, name_and_label, perceptual_distances

DISTANCES = ("pd", "lpips", "ms-ssim", "psnr")
"""What is worst is told by the first of these that there is."""
KEPT = 32
"""Images that are named: as many as a figure shows at most."""


def rankings(measured: Measured, extractor: str, settings: Settings) -> dict[str, dict[str, Any]]:
    """By each of DISTANCES that this extractor gives: the score's name, and numbers and values of its worst images, worst first."""
    found = {metric: _values(metric, measured, settings) for metric in DISTANCES}
    return {metric: _entry(metric, extractor, values) for metric, values in found.items() if values is not None}


def first(ranked: Mapping[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The ranking by which the worst images are told."""
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
