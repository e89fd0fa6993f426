"""Photographs and masks as users have them."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from palette.errors import DataError
from palette.restoration.photo import mask_of, pixels_of

Pixels = npt.NDArray[np.uint8]


def test_file_image_and_array_are_the_same(photo: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    for given in (path, str(path), Image.fromarray(photo), Image.open(path), photo, photo[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(pixels_of(given), photo)


def test_every_kind_becomes_rgb(photo: Pixels, tmp_path: Path) -> None:
    picture = Image.fromarray(photo)
    gray = picture.convert("L")
    np.testing.assert_array_equal(pixels_of(gray), np.repeat(np.asarray(gray)[:, :, None], 3, 2))
    np.testing.assert_array_equal(pixels_of(np.asarray(gray)), pixels_of(gray))
    clear = np.dstack([photo, np.zeros(photo.shape[:2], np.uint8)])
    assert (pixels_of(clear) == 255).all()
    np.testing.assert_array_equal(pixels_of(np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])), photo)
    deep = tmp_path / "deep.png"
    Image.fromarray(np.asarray(gray).astype(np.uint16) * 257).save(deep)
    np.testing.assert_array_equal(pixels_of(deep), pixels_of(gray))
    cmyk = tmp_path / "cmyk.jpg"
    picture.convert("CMYK").save(cmyk, quality=95)
    assert pixels_of(cmyk).shape == photo.shape
    turned = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(turned, exif=exif)
    np.testing.assert_array_equal(pixels_of(turned), np.rot90(photo, -1))


@pytest.mark.parametrize(
    ("content", "says"), [(None, "No such file"), (b"", "not a picture"), (b"no picture", "not a picture")]
)
def test_what_is_no_picture_is_named(content: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"cat\.png: .*{says}") as error:
        pixels_of(path)
    assert "0x" not in str(error.value)  # no object's address


def test_a_truncated_picture_is_refused(photo: Pixels, tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.fromarray(photo).save(data, format="PNG")
    path = tmp_path / "cat.png"
    path.write_bytes(data.getvalue()[:-200])
    for given in (path, Image.open(path)):
        with pytest.raises(DataError, match="not readable as a picture"):
            pixels_of(given)


@pytest.mark.parametrize("array", [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_other_arrays_are_refused(array: npt.NDArray[np.generic]) -> None:
    with pytest.raises(DataError, match="must be uint8"):
        pixels_of(array)  # type: ignore[arg-type]


def test_a_mask_is_white_where_to_generate(tmp_path: Path) -> None:
    hole = np.zeros((6, 8), np.bool_)
    hole[2:4, 3:] = True
    levels = np.where(hole, 255, 0).astype(np.uint8)
    path = tmp_path / "mask.png"
    Image.fromarray(levels).save(path)
    gray = np.where(hole, 128, 127).astype(np.uint8)
    colored = np.where(hole[:, :, None], 255, np.array([255, 0, 0])).astype(np.uint8)
    for given in (hole, levels, path, Image.fromarray(hole), Image.fromarray(levels), gray, colored):
        np.testing.assert_array_equal(mask_of(given, 6, 8), hole)


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (np.ones((8, 6), np.bool_), "6×8 pixels, but the photo has 8×6"),
        (np.zeros((6, 8), np.bool_), "nowhere white"),
        (np.eye(6, 8, dtype=np.uint8), "nowhere white"),  # 0 and 1 instead of 0 and 255
        (np.ones((6, 8), np.bool_), "white everywhere"),
    ],
)
def test_masks_that_cannot_be_meant(mask: Pixels, says: str) -> None:
    with pytest.raises(DataError, match=says):
        mask_of(mask, 6, 8)
