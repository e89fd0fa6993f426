import io
import struct
import zlib
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from palette.config.datasets import Filter
from palette.data.images.depth import UnclearRange
from palette.data.images.pictures import (
    UNREADABLE,
    area,
    centre_square,
    cut_square,
    decode_picture,
    develop,
    middle,
    read_picture,
)

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
    values = np.array([[0, 0.5, 1]], np.float32)
    assert decoded(Image.fromarray(values), "TIFF")[..., 1].tolist() == [[0, 128, 255]]


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


def converted(image: Image.Image, kind: str = "PNG", name: str = "", **options: Any) -> tuple[str, ...]:
    return read_picture(encoded(image, kind, **options), name).converted


def test_conversions_are_recorded() -> None:
    red = Image.new("RGB", (8, 8), RED)
    assert converted(red) == ()
    assert converted(red, "PNG", "a.PNG") == ()
    assert converted(red, "PNG", "a.jpg") == ("PNG named .jpg",)
    assert converted(red.convert("CMYK"), "JPEG") == ("CMYK",)
    assert converted(red.convert("L")) == ("gray",)
    assert converted(red.convert("1")) == ("1 bit", "gray")
    assert converted(red.convert("P")) == ("palette",)
    assert converted(red, icc_profile=swapped_profile()) == ("color profile",)
    assert converted(red, icc_profile=b"no profile") == ("color profile ignored",)
    assert converted(Image.new("RGBA", (8, 8), (*RED, 7))) == ("transparency",)
    assert read_picture(encoded(red.convert("L"))).lost == ""
    assert read_picture(encoded(Image.new("RGBA", (8, 8), (*RED, 7)))).lost == "transparency"
    assert converted(Image.new("RGBA", (8, 8), (*RED, 255))) == ()
    assert converted(Image.fromarray(np.full((4, 4), 40000, np.uint16))) == ("more than 8 bits: 0 to 65535", "gray")
    assert converted(red, "GIF", save_all=True, append_images=[Image.new("RGB", (8, 8))])[0] == "first frame of several"
    exif = Image.Exif()
    exif[0x0112] = 3
    assert converted(red, "JPEG", exif=exif) == ("turned",)


def test_srgb_itself_is_not_rounded() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decoded(Image.fromarray(pixels), icc_profile=srgb), pixels)


def test_profile_of_a_transparent_picture() -> None:
    picture = read_picture(encoded(Image.new("RGBA", (2, 2), (*RED, 255)), icc_profile=swapped_profile()))
    assert np.abs(np.asarray(picture.pixels)[0, 0].astype(int) - RED[::-1]).max() <= 2


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa"])
def test_background_shows_through(mode: str) -> None:
    image = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    made = develop(image.convert(mode), "#102030")
    assert (np.asarray(made.pixels) == (16, 32, 48)).all()


def test_lab_becomes_rgb() -> None:
    gray, red = (
        Image.merge("LAB", [Image.new("L", (2, 2), value) for value in lab])
        for lab in ((128, 128, 128), (128, 198, 128))
    )
    assert np.ptp(np.asarray(develop(gray).pixels)[0, 0]) <= 2
    assert np.asarray(develop(red).pixels)[0, 0, 0] > np.asarray(develop(red).pixels)[0, 0, 1] + 80


def test_sixteen_bit_color(tmp_path: Path) -> None:
    """Pillow cannot write it: a PNG by hand."""
    rows = b"".join(b"\0" + struct.pack(">6H", 0x1234, 0x8000, 0xFFFF, 0, 257, 513) for _ in range(2))
    header = struct.pack(">2I5B", 2, 2, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    picture = read_picture(data)
    assert picture.converted == ("more than 8 bits: 0 to 65535",)
    assert np.asarray(picture.pixels)[0].tolist() == [[0x12, 0x80, 0xFF], [0, 1, 2]]


def test_gray_is_kept_only_on_request() -> None:
    gray = encoded(Image.new("L", (2, 2), 9))
    assert read_picture(gray).pixels.mode == "RGB"
    assert read_picture(gray, gray=True).pixels.mode == "L"
    assert read_picture(encoded(Image.new("RGB", (2, 2), (9, 9, 9))), gray=True).pixels.mode == "RGB"


def test_flipped_bit_in_the_pixels_of_a_png() -> None:
    """Pillow alone does not look at the CRC of pixels."""
    data = bytearray(encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))))
    data[len(data) // 2] ^= 1
    with pytest.raises(UNREADABLE):
        read_picture(bytes(data))


def test_every_value_of_sixteen_bits() -> None:
    values = np.arange(65536).reshape(256, 256)
    for pixels in (values.astype(np.uint16), values.astype(np.int32)):
        found = np.asarray(develop(Image.fromarray(pixels)).pixels)[..., 0]
        assert np.array_equal(found, np.rint(values / 257))
    with pytest.raises(UnclearRange, match="its values, -5 to 70000, do not fill their type"):
        develop(Image.fromarray(np.array([[-5, 70_000]], np.int32)))


def chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) if crc is None else crc)
    )


LONG = zlib.compress(bytes(2 << 20))
SIDE = {
    "tEXt": chunk(b"tEXt", b"Comment\0wrong", crc=1),
    "zTXt": chunk(b"zTXt", b"Comment\0\0" + LONG),
    "iTXt": chunk(b"iTXt", b"Comment\0\1\0\0\0" + LONG),
    "iCCP": chunk(b"iCCP", b"profile\0\0" + LONG),
    "gAMA": chunk(b"gAMA", b"", crc=1),
    "pHYs": chunk(b"pHYs", b"short"),
    "eXIf": chunk(b"eXIf", b"II*\0", crc=1),
    "prVt": chunk(b"prVt", b"of another program", crc=1),
}


@pytest.mark.parametrize("kind", SIDE)
@pytest.mark.parametrize("behind", [False, True])
def test_faulty_or_long_ancillary_chunks_of_a_png(kind: str, behind: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(pixels))
    place = len(data) - 12 if behind else 33  # before IEND, or behind IHDR
    picture = read_picture(data[:place] + SIDE[kind] + data[place:])
    assert np.array_equal(np.asarray(picture.pixels), pixels)
    assert picture.lost == f"PNG chunks ignored: {kind}"


def test_a_png_keeps_the_chunks_its_pixels_depend_on() -> None:
    """Colors and orientation stay as long as they can be read; transparency and pixels are never given up."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.new("RGB", (4, 2), RED), icc_profile=swapped_profile(), exif=exif)
    picture = read_picture(data[:33] + SIDE["tEXt"] + data[33:])
    assert picture.converted == ("PNG chunks ignored: tEXt", "turned", "color profile")
    assert picture.pixels.size == (2, 4)
    deep = encoded(Image.fromarray(np.full((2, 2), 4000, np.uint16)))
    with pytest.raises(UnclearRange):
        read_picture(deep[:33] + SIDE["tEXt"] + deep[33:])
    clear = encoded(Image.new("L", (4, 2), 9), transparency=9)
    place = clear.index(b"tRNS") + 4
    assert read_picture(clear[:33] + SIDE["tEXt"] + clear[33:]).lost == "PNG chunks ignored: tEXt, transparency"
    with pytest.raises(UNREADABLE):
        read_picture(clear[:place] + b"\0\5" + clear[place + 2 :])


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


@pytest.mark.parametrize("kind", get_args(Filter))
def test_every_filter_keeps_a_flat_color(kind: Filter) -> None:
    for side in (3, 16, 50):
        flat = Image.new("RGB", (side, side), RED)
        assert (cut_square(flat, (0, 0, side, side), 16, kind) == RED).all()
        assert cut_square(flat.convert("L"), (0, 0, side, side), 16, kind).shape == (16, 16)


@given(side=st.integers(1, 70), size=st.integers(1, 40), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_area_is_the_mean_over_each_new_pixel(side: int, size: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    fine = np.kron(pixels.astype(np.int64), np.ones((size, size, 1), np.int64))
    sums = fine.reshape(size, side, size, side, 3).sum(axis=(1, 3))
    assert np.array_equal(area(pixels, size), (sums + side * side // 2) // (side * side))


def test_an_unscaled_square() -> None:
    assert middle(500, 375, 256) == (122, 59, 378, 315)
    assert middle(200, 300, 256) == (0, 50, 200, 250)
