import hashlib
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from palette.data.pictures import centre_square, cut_square, decode_picture, read_picture
from palette.errors import DataError

RED = (200, 30, 40)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(image: Image.Image, kind: str = "PNG", **options: Any) -> npt.NDArray[np.uint8]:
    picture = decode_picture(encoded(image, kind, **options))
    assert picture.mode == "RGB"
    return np.asarray(picture)


def test_rgb_is_unchanged() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    assert np.array_equal(decoded(Image.fromarray(pixels)), pixels)


def test_transparent_pixels_are_white() -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0] = (*RED, 255)
    result = decoded(Image.fromarray(pixels))
    assert (result[0] == RED).all()
    assert (result[1] == 255).all()


def test_palette_with_a_transparent_color() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, 0, 0, 0])
    image.putpixel((1, 0), 1)
    assert decoded(image, transparency=1).tolist() == [[list(RED), [255, 255, 255]]]


def test_sixteen_bit_gray_keeps_its_range() -> None:
    values = np.array([[0, 257 * 100, 65535]], np.uint16)
    assert decoded(Image.fromarray(values))[..., 0].tolist() == [[0, 100, 255]]


def test_float_gray_is_from_zero_to_one() -> None:
    values = np.array([[0, 0.5, 1, 7, np.nan]], np.float32)
    assert decoded(Image.fromarray(values), "TIFF")[..., 1].tolist() == [[0, 128, 255, 255, 0]]


def test_gray_and_one_bit_and_cmyk() -> None:
    assert (decoded(Image.new("L", (2, 2), 77)) == 77).all()
    assert (decoded(Image.new("1", (2, 2), 1)) == 255).all()
    cmyk = decoded(Image.new("RGB", (8, 8), RED).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(cmyk.astype(int) - RED).max() < 6


def test_exif_orientation_turns_the_picture() -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    result = decoded(Image.fromarray(pixels), "JPEG", exif=exif, quality=95)
    assert result.shape == (32, 16, 3)
    assert result[4, 8, 0] > 250
    assert result[28, 8, 0] < 5


def test_color_profile_is_applied() -> None:
    xyz = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new("RGB", (2, 2), RED)
    assert np.abs(decoded(image, icc_profile=srgb).astype(int) - RED).max() <= 1
    # A profile for another kind of data, and one that is no profile, are ignored.
    assert (decoded(image, icc_profile=lab) == RED).all()
    assert (decoded(image, icc_profile=b"no profile") == RED).all()
    assert decoded(image, icc_profile=xyz).shape == (2, 2, 3)


def swapped_profile() -> bytes:
    """An sRGB profile whose red and blue primaries are exchanged."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", data[128:132])[0]
    tags = {bytes(data[i : i + 4]): i for i in range(132, 132 + 12 * count, 12)}
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    data[red + 4 : red + 12], data[blue + 4 : blue + 12] = data[blue + 4 : blue + 12], data[red + 4 : red + 12]
    return bytes(data)


def test_wide_color_becomes_srgb() -> None:
    result = decoded(Image.new("RGB", (2, 2), RED), icc_profile=swapped_profile())
    assert np.abs(result[0, 0].astype(int) - RED[::-1]).max() <= 2


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ((255, 0, 0), (0, 0, 255))]
    assert (decoded(frames[0], "GIF", save_all=True, append_images=frames[1:]) == (255, 0, 0)).all()


def test_read_picture_insists_on_the_fetched_bytes(tmp_path: Path) -> None:
    data = encoded(Image.new("RGB", (4, 4), RED))
    path, digest = tmp_path / "a.png", hashlib.sha256(data).hexdigest()
    path.write_bytes(data)
    assert read_picture(path, digest).size == (4, 4)
    path.write_bytes(data + b"!")
    with pytest.raises(DataError, match=r"a\.png: changed since it was fetched"):
        read_picture(path, digest)
    path.unlink()
    with pytest.raises(DataError, match=r"a\.png: not readable any more"):
        read_picture(path, digest)


@pytest.mark.parametrize(
    ("size", "box"), [((10, 4), (3, 0, 7, 4)), ((4, 10), (0, 3, 4, 7)), ((5, 5), (0, 0, 5, 5)), ((6, 3), (1, 0, 4, 3))]
)
def test_centre_square(size: tuple[int, int], box: tuple[int, ...]) -> None:
    assert centre_square(*size) == box


def test_resizing_sees_nothing_outside_the_box() -> None:
    pixels = np.full((40, 40, 3), 255, np.uint8)
    pixels[10:30, 10:30] = 90
    assert (cut_square(Image.fromarray(pixels), (10, 10, 30, 30), 7) == 90).all()


def test_resizing_does_not_alias() -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(cut_square(Image.fromarray(stripes), (0, 0, 128, 128), 32).astype(int) - 127.5).max() < 12
