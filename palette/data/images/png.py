"""PNG chunks: whether all rows are there, and which chunks the pixels do not depend on."""

import struct
import zlib
from collections.abc import Iterator

BLOCK = 1 << 20
"""Number of bytes inflated at a time."""
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass of an interlaced PNG, and the steps between them (PNG specification, 8.2)."""
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""PNG color type → values per pixel."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
ESSENTIAL = ({b"tRNS", b"iCCP", b"eXIf"}, {b"tRNS"})
"""Ancillary chunks kept at the first and second attempt to read an image: transparency, colors, orientation."""


def without_side_chunks(png: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield the PNG with fewer and fewer of the chunks that no pixel depends on, and the names of the removed chunks.

    Pillow rejects an image for a wrong CRC in a comment, or a comment of more than a megabyte. Chunks that pixels
    depend on are kept, valid or not.
    """
    parts = list(_chunks(png))
    before = len(parts)
    for essential in ESSENTIAL:
        essentials = [(kind, chunk) for kind, chunk in parts if _is_needed(kind, chunk, essential)]
        if len(essentials) < before:
            before = len(essentials)
            dropped = {kind for kind, _ in parts} - {kind for kind, _ in essentials}
            yield (
                SIGNATURE + b"".join(chunk for _, chunk in essentials),
                ", ".join(sorted(kind.decode() for kind in dropped)),
            )


def _is_needed(kind: bytes, chunk: bytes, essential: set[bytes]) -> bool:
    """Return whether a chunk is critical or tRNS, or in `essential` with a correct CRC."""
    if kind == b"tRNS" or not (kind.isalpha() and kind[:1].islower()):
        return True
    return kind in essential and struct.pack(">I", zlib.crc32(chunk[4:-4])) == chunk[-4:]


def has_all_rows(png: bytes) -> bool:
    """Return whether a PNG has as many bytes of pixel data as its header implies."""
    width, height, depth, color, _, _, interlaced = struct.unpack_from(">2I5B", png, 16)
    sizes = [(width, height)]
    if interlaced:
        sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in PASSES]
    bits = depth * CHANNELS[color]
    expected: int = sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)
    return _inflated(png, expected) >= expected


def _inflated(png: bytes, enough: int) -> int:
    """Return the number of bytes that a PNG's pixel data inflate to, without inflating much more than `enough`."""
    stream, size = zlib.decompressobj(), 0
    for kind, chunk in _chunks(png):
        rest = chunk[8:-4] if kind == b"IDAT" else b""
        while rest and size < enough:
            size += len(stream.decompress(rest, BLOCK))
            rest = stream.unconsumed_tail
    return size if size >= enough else size + len(stream.flush())


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each chunk's kind and all of its bytes, including length and CRC."""
    place = len(SIGNATURE)
    while place + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        yield kind, png[place : place + 12 + length]
        place += 12 + length
