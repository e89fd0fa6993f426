"""Limits of the image reader, and files with fewer rows than their header states."""

import io
import zlib

import pytest
from PIL import Image

from palette.data.images import limits
from palette.data.images.pictures import read_picture
from palette.data.images.png import PASSES
from tests.data.hostile import PIXELS, png, saved, with_scans


def test_limit_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PIXELS", PIXELS.shape[0] * PIXELS.shape[1])
    assert read_picture(saved(Image.fromarray(PIXELS), "PNG")).pixels.size == (32, 24)
    with pytest.raises(Image.DecompressionBombError, match="33 × 24 pixels; at most 768 are read"):
        read_picture(saved(Image.new("RGB", (33, 24)), "GIF"))


def test_limit_of_scans() -> None:
    assert read_picture(with_scans(100)).pixels.size == (32, 24)
    with pytest.raises(Image.DecompressionBombError, match="101 scans; at most 100 are read"):
        read_picture(with_scans(101))


@pytest.mark.parametrize("rows", [1, 2, 23])
def test_a_png_with_too_few_rows(rows: int) -> None:
    with pytest.raises(OSError, match="truncated: it has fewer rows"):
        read_picture(png(32, 24, (b"\0" + b"\x80" * 96) * rows))


@pytest.mark.parametrize(
    ("depth", "color", "row"),
    [(1, 0, 4), (2, 0, 8), (4, 0, 16), (8, 0, 32), (16, 0, 64), (8, 2, 96), (8, 4, 64), (16, 6, 256)],
)
def test_a_black_png_is_complete(depth: int, color: int, row: int) -> None:
    black = bytes(1 + row) * 24
    assert read_picture(png(32, 24, black, depth, color)).pixels.size == (32, 24)
    with pytest.raises(OSError, match="truncated"):
        read_picture(png(32, 24, black[row + 1 :], depth, color))


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (8, 8), (13, 21)])
def test_an_interlaced_black_png_is_complete(size: tuple[int, int]) -> None:
    """Its bytes by the specification: each pass is a picture of its own, without those that are empty."""
    width, height = size
    passes = [(range(x, width, dx), range(y, height, dy)) for x, y, dx, dy in PASSES]
    rows = b"".join(bytes(1 + 3 * len(columns)) * len(lines) for columns, lines in passes if len(columns))
    assert read_picture(interlaced(size, rows)).pixels.getextrema() == ((0, 0),) * 3
    if height > 2:
        with pytest.raises(OSError, match="truncated"):
            read_picture(interlaced(size, rows[: -1 - 3 * width]))


def interlaced(size: tuple[int, int], rows: bytes) -> bytes:
    data = bytearray(png(*size, rows))
    data[28] = 1
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    assert Image.open(io.BytesIO(data)).info["interlace"] == 1
    return bytes(data)
