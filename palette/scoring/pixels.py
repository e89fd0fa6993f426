"""Metrics of single images without a network: a function (output, original) → number and its row in `PIXEL_METRICS`.

Plans read that table: what takes long to import is imported by the functions.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

GAUSSIAN_WINDOW = 11
"""Side of SSIM's Gaussian window in pixels (Wang et al. 2004); smaller images get a uniform one of 7."""
CB = np.array([-0.168736, -0.331264, 0.5])
CR = np.array([0.5, -0.418688, -0.081312])


def psnr(output: Image, original: Image) -> float:
    """Compute the peak signal-to-noise ratio in dB of two images uint8 [H,W,3]; infinite if they are equal."""
    from skimage.metrics import peak_signal_noise_ratio

    if np.array_equal(output, original):
        return float("inf")
    return float(peak_signal_noise_ratio(original, output, data_range=255))


def ssim(output: Image, original: Image) -> float:
    """Compute SSIM (Wang et al. 2004) of two images uint8 [H,W,3], mean over the channels; 1 if they are equal."""
    from skimage.metrics import structural_similarity

    if np.array_equal(output, original):
        return 1.0
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    window = gaussian if min(output.shape[:2]) >= GAUSSIAN_WINDOW else {}
    return float(structural_similarity(original, output, data_range=255, channel_axis=2, **window))


def chroma(image: Image) -> float:
    """Compute the mean over the pixels of √(Cb² + Cr²), in BT.601's YCbCr on [0,255] with Cb and Cr centered on 0.
    A grayscale image has 0."""
    pixels = image.astype(np.float64)
    return float(np.hypot(pixels @ CB, pixels @ CR).mean())


class PixelMetric(NamedTuple):
    """Metric of one image; a row's score is the mean over its images."""

    measure: Callable[[Image, Image], float]
    """(output, original), both uint8 [H,W,3] → value."""
    label: str
    better: Literal["lower", "higher", "reference"]
    """`reference`: the closer to the originals' value, the better."""
    digits: int
    """Decimals to print."""
    about: str


PIXEL_METRICS: dict[str, PixelMetric] = {
    "psnr": PixelMetric(
        psnr, "PSNR", "higher", 2, "peak signal-to-noise ratio to the original in dB, mean over images"
    ),
    "ssim": PixelMetric(ssim, "SSIM", "higher", 3, "structural similarity to the original, mean over images"),
    "chroma": PixelMetric(
        lambda output, _: chroma(output),
        "chroma",
        "reference",
        1,
        "mean of √(Cb² + Cr²) over pixels and images, on [0,255]; gray is 0",
    ),
}
