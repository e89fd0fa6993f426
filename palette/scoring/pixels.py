"""Measures of single images without a network: PSNR, SSIM, chroma."""

import numpy as np
import numpy.typing as npt
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

Image = npt.NDArray[np.uint8]

GAUSSIAN_WINDOW = 11
"""Side of SSIM's Gaussian window in pixels (Wang et al. 2004); smaller images get a uniform one of 7."""
CB = np.array([-0.168736, -0.331264, 0.5])
CR = np.array([0.5, -0.418688, -0.081312])


def psnr(output: Image, original: Image) -> float:
    """Compute the peak signal-to-noise ratio in dB of two images uint8 [H,W,3]; infinite if they are equal."""
    if np.array_equal(output, original):
        return float("inf")
    return float(peak_signal_noise_ratio(original, output, data_range=255))


def ssim(output: Image, original: Image) -> float:
    """Compute SSIM (Wang et al. 2004) of two images uint8 [H,W,3], mean over the channels; 1 if they are equal."""
    if np.array_equal(output, original):
        return 1.0
    window = (
        {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        if min(output.shape[:2]) >= GAUSSIAN_WINDOW
        else {}
    )
    return float(structural_similarity(original, output, data_range=255, channel_axis=2, **window))


def chroma(image: Image) -> float:
    """Compute the mean over the pixels of √(Cb² + Cr²), in BT.601's YCbCr on [0,255] with Cb and Cr centered on 0.

    A grayscale image has 0.
    """
    pixels = image.astype(np.float64)
    return float(np.hypot(pixels @ CB, pixels @ CR).mean())
