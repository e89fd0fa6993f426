"""PSNR, SSIM and chroma: identities and closed forms."""

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from palette.scoring.pixels import chroma, psnr, ssim


@pytest.fixture
def photo() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(30, 220, (32, 32, 3), dtype=np.uint8)


def test_psnr_of_a_constant_error_has_a_closed_form(photo: npt.NDArray[np.uint8]) -> None:
    assert psnr(photo + np.uint8(10), photo) == pytest.approx(20 * np.log10(255 / 10))


def test_equal_images_have_infinite_psnr_and_ssim_one(photo: npt.NDArray[np.uint8]) -> None:
    assert psnr(photo, photo) == np.inf
    assert ssim(photo, photo) == pytest.approx(1)


def test_ssim_is_symmetric_and_falls_with_noise(photo: npt.NDArray[np.uint8]) -> None:
    little, much = (
        np.clip(photo + n * np.random.default_rng(1).standard_normal(photo.shape), 0, 255).astype(np.uint8)
        for n in (5, 40)
    )
    assert ssim(little, photo) > ssim(much, photo)
    assert ssim(little, photo) == pytest.approx(ssim(photo, little))


def test_ssim_takes_images_smaller_than_its_window() -> None:
    tiny = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert ssim(tiny, tiny) == pytest.approx(1)


def test_grayscale_has_no_chroma(photo: npt.NDArray[np.uint8]) -> None:
    assert chroma(photo[:, :, :1].repeat(3, axis=2)) == pytest.approx(0, abs=1e-9)


def test_chroma_is_that_of_pillows_ycbcr(photo: npt.NDArray[np.uint8]) -> None:
    ycbcr = np.asarray(Image.fromarray(photo).convert("YCbCr"), dtype=float)
    assert chroma(photo) == pytest.approx(np.hypot(ycbcr[..., 1] - 128, ycbcr[..., 2] - 128).mean(), rel=0.01)
