"""The chunks of a PNG: whether it has all the rows that it promises, and which of them its pixels can do without."""

import struct
import zlib
from collections.abc import Iterator

BLOCK = 1 << 20
"""Bytes that are inflated at a time."""
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass of an interlaced PNG, and the steps between them (PNG specification, 8.2)."""
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""A PNG's color type → values of a pixel."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
ESSENTIAL = ({b"tRNS", b"iCCP", b"eXIf"}, {b"tRNS"})
"""Ancillary chunks that a picture keeps at the first and at the second attempt to read it: transparency, colors, orientation."""


def without_side_chunks(png: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield the PNG with fewer and fewer of the chunks that no pixel depends on, and the names of those that are left out.

    Pillow refuses a picture for a wrong CRC in a comment, or a comment of more than a megabyte. Chunks that pixels depend on
    stay, right or wrong.
    """
    parts = list(_chunks(png))
    before = len(parts)
    for essential in ESSENTIAL:
        kept = [(kind, chunk) for kind, chunk in parts if _is_kept(kind, chunk, essential)]
        if len(kept) < before:
            before = len(kept)
            dropped = {kind for kind, _ in parts} - {kind for kind, _ in kept}
            yield SIGNATURE + b"".join(chunk for _, chunk in kept), ", ".join(sorted(kind.decode() for kind in dropped))


def _is_kept(kind: bytes, chunk: bytes, essential: set[bytes]) -> bool:
    """Return whether a chunk stays: tRNS and all that are not ancillary (lower case) as they are, others with a right CRC."""
    if kind == b"tRNS" or not (kind.isalpha() and kind[:1].islower()):
        return True
    return kind in essential and struct.pack(">I", zlib.crc32(chunk[4:-4])) == chunk[-4:]


def has_all_rows(png: bytes) -> bool:
    """Return whether the pixels of a PNG are as many bytes as its header says."""
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
    for kind, chunk in _chunks(png):
        rest = chunk[8:-4] if kind == b"IDAT" else b""
        while rest and size < enough:
            size += len(stream.decompress(rest, BLOCK))
            rest = stream.unconsumed_tail
    return size if size >= enough else size + len(stream.flush())


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks: the kind of each, and all its bytes, length and CRC among them."""
    place = len(SIGNATURE)
    while place + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        yield kind, png[place : place + 12 + length]
        place += 12 + length
