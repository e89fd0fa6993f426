"""Photographs and masks as users have them."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from palette.errors import ConfigError, DataError
from palette.restore.photo import mask_of, pixels_of

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
def test_files_that_are_not_images_are_named(content: bytes | None, says: str, tmp_path: Path) -> None:
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
        (np.eye(8, 6, dtype=np.bool_), "6×8 pixels, but the photo has 8×6"),
        (np.zeros((6, 8), np.bool_), "nowhere white"),
        (np.eye(6, 8, dtype=np.uint8), "nowhere white"),  # 0 and 1 instead of 0 and 255
        (np.ones((6, 8), np.bool_), "white everywhere"),
    ],
)
def test_invalid_masks(mask: Pixels, says: str) -> None:
    with pytest.raises(DataError, match=says):
        mask_of(mask, 6, 8)


def test_a_transparent_hole(photo: Pixels, tmp_path: Path) -> None:
    """A photo out of which the hole was erased: neither its bright nor its dark pixels belong to the hole."""
    hole = np.zeros(photo.shape[:2], np.bool_)
    hole[2:9, 3:] = True
    erased = photo.copy()
    erased[:2] = 255
    erased[12:] = 0
    layers = np.dstack([erased, np.where(hole, 0, 255).astype(np.uint8)])
    path = tmp_path / "erased.png"
    Image.fromarray(layers).save(path)
    gray = Image.fromarray(layers).convert("LA")
    for given in (layers, path, Image.fromarray(layers), gray):
        np.testing.assert_array_equal(mask_of(given, *hole.shape), hole)
    black = np.dstack([np.zeros_like(photo), layers[..., 3]])  # black where the photo stays, as in any mask
    np.testing.assert_array_equal(mask_of(black, *hole.shape), hole)
    full = np.dstack([np.where(hole[..., None], 255, np.zeros_like(photo)), np.full(hole.shape, 255, np.uint8)])
    np.testing.assert_array_equal(mask_of(full.astype(np.uint8), *hole.shape), hole)


@pytest.mark.parametrize("color", [(255, 255, 255), (255, 0, 0), (0, 90, 200)])
@pytest.mark.parametrize("opacity", [255, 200])
def test_paint_on_a_transparent_layer_is_ambiguous(color: tuple[int, ...], opacity: int) -> None:
    layer = np.zeros((6, 8, 4), np.uint8)
    layer[2:4, 3:] = (*color, opacity)
    with pytest.raises(DataError, match="mask: paint on a transparent layer: either part could be the hole"):
        mask_of(layer, 6, 8)


def test_a_twelve_bit_photo_needs_a_range(tmp_path: Path) -> None:
    values = np.linspace(0, 4095, 48).reshape(6, 8).astype(np.uint16)
    path = tmp_path / "scan.png"
    Image.fromarray(values).save(path)
    for given, name in ((path, "scan.png"), (Image.fromarray(values), "photo")):
        with pytest.raises(
            DataError, match=rf"{name}: its values, 0 to 4095, .*`--range 0 4095`, .*`value_range=\(0, 4095\)`"
        ):
            pixels_of(given)
        np.testing.assert_array_equal(pixels_of(given, value_range=(0, 4095))[..., 1], np.rint(values / 4095 * 255))
    with pytest.raises(DataError, match=r"scan\.png: its values, .* Save the mask with 0 and 255\."):
        mask_of(path, 6, 8)


@pytest.mark.parametrize("value_range", [(3, 3), (5, 3), (0, float("nan")), (0, float("inf"))])
def test_invalid_ranges(photo: Pixels, value_range: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match=r"range .*: should be two numbers, black first"):
        pixels_of(photo, value_range=value_range)
