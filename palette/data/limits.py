"""What a picture file may ask of a reader, and whether it has all the rows that it promises.

Pillow reads small files that ask for minutes of work, and takes one that ends at a row's end for whole.
"""

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from palette.data.jpeg import KINDS, scans

PIXELS = 89_478_485
"""Of the largest picture that is read, in width times height: where Pillow begins to warn of a decompression bomb."""
SCANS = 100
"""Of a JPEG: each goes over the whole picture, in a few bytes if it says nothing. Encoders write 1 to 20."""
BLOCK = 1 << 20
"""Bytes that are inflated at a time."""
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of an interlaced PNG: the first column and row of each pass, and the steps between them (PNG specification, 8.2)."""
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""A PNG's color type → values of a pixel."""


def refuse_bombs(image: Image.Image, data: bytes) -> None:
    """Raise DecompressionBombError for an opened picture that would take too long: too many pixels, or scans of a JPEG."""
    if image.width * image.height > PIXELS:
        raise Image.DecompressionBombError(f"{image.width} × {image.height} pixels; at most {PIXELS:,} are read")
    if image.format in KINDS and (found := scans(data)) > SCANS:
        raise Image.DecompressionBombError(f"{found} scans; at most {SCANS} are read")


def refuse_missing_strips(image: Image.Image) -> None:
    """Raise OSError for an opened picture whose parts do not reach its last row: TIFFs that lost strips."""
    ends = [tile[1][3] for tile in getattr(image, "tile", ()) if tile[1]]
    if ends and max(ends) < image.height:
        raise OSError(f"image file is truncated: it has {max(ends)} of {image.height} rows")


def refuse_missing_rows(image: Image.Image, data: bytes) -> None:
    """Raise OSError for a loaded PNG of which the file has too few rows, which Pillow leaves black."""
    if image.format != "PNG":
        return
    last = image.crop((0, image.height - 1, image.width, image.height))
    if last.getbbox(alpha_only=False) is None and not _has_all_rows(data):
        raise OSError("image file is truncated: it has fewer rows than it says")


def _has_all_rows(png: bytes) -> bool:
    """Whether the pixels of a PNG are as many bytes as its header says."""
    width, height, depth, color, _, _, interlaced = struct.unpack_from(">2I5B", png, 16)
    sizes = [(width, height)]
    if interlaced:
        sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in PASSES]
    bits = depth * CHANNELS[color]
    expected: int = sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)
    return _inflated(png, expected) >= expected


def _inflated(png: bytes, enough: int) -> int:
    """The bytes that the pixels of a PNG inflate to; of more than `enough`, some of them."""
    stream, size = zlib.decompressobj(), 0
    for chunk in _pixel_chunks(png):
        rest = chunk
        while rest and size < enough:
            size += len(stream.decompress(rest, BLOCK))
            rest = stream.unconsumed_tail
    return size if size >= enough else size + len(stream.flush())


def _pixel_chunks(png: bytes) -> Iterator[bytes]:
    """The content of the chunks `IDAT`."""
    place = 8
    while place + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        if kind == b"IDAT":
            yield png[place + 8 : place + 8 + length]
        place += 12 + length
