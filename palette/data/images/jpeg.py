"""JPEG markers: the number of scans, and whether all blocks are there.

For a truncated JPEG that still ends with an end marker, libjpeg fills the missing blocks with gray, without any warning
that Pillow would pass on.
"""

import io
import re
from collections.abc import Iterator

from PIL import Image

KINDS = ("JPEG", "MPO")
"""Pillow's format names of a JPEG, and of a JPEG followed by others in the same file."""
SCAN, END, ALONE = 0xDA, 0xD9, 0x01
"""Markers: start of a scan, end of the image, and one without a length."""
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""Next marker that starts a segment: compressed data contain none."""
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
GRAY = range(126, 130)
"""Values of a block without data, after all conversions."""
MORE = bytes(range(1, 251))
"""Arbitrary compressed data that contain no marker."""


def parts(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the markers up to the end of the image, but for embedded thumbnails: kind and position after it."""
    marker = MARKER.search(data, 2)
    while marker:
        kind, place = data[marker.end() - 1], marker.end()
        yield kind, place
        if kind == END:
            return
        length = 0 if kind == ALONE else int.from_bytes(data[place : place + 2])
        marker = MARKER.search(data, place + length)


def scans(data: bytes) -> int:
    return sum(kind == SCAN for kind, _ in parts(data))


def refuse_missing_blocks(image: Image.Image, data: bytes) -> None:
    """Raise OSError for a loaded JPEG that ends too early.

    Two signs are cheap to check: the last block is gray, or scans are missing. Then the file is decoded again with more
    data before its end, which change no pixel of a complete one.
    """
    if image.format not in KINDS or not (_ends_gray(image) or _lacks_scans(image, data)):
        return
    with Image.open(io.BytesIO(_with_more(data))) as other:
        changed = other.tobytes() != image.tobytes()
    if changed:
        raise OSError("image file is truncated: it ends before its last block")


def _ends_gray(image: Image.Image) -> bool:
    """Return whether the visible part of the last block of 8 × 8 pixels is mid-gray."""
    width, height = image.size
    block = image.crop(((width - 1) // 8 * 8, (height - 1) // 8 * 8, width, height))
    brightness = block.getchannel("K") if image.mode == "CMYK" else block.convert("L")
    return all(value in GRAY for value in brightness.getextrema())


def _lacks_scans(image: Image.Image, data: bytes) -> bool:
    """Return whether a coefficient of a component is missing, or its last bit is."""
    if scans(data) < 2:  # missing parts of a single scan are gray
        return False
    bits: dict[tuple[int, int], int] = {}
    for kind, place in parts(data):
        if kind == SCAN:
            end = place + 3 + 2 * data[place + 2]
            first, last, precision = data[end : end + 3]
            for component in data[place + 3 : end : 2]:
                bits |= dict.fromkeys(((component, number) for number in range(first, last + 1)), precision & 15)
    return sum(missing == 0 for missing in bits.values()) < 64 * len(image.getbands())


def _with_more(data: bytes) -> bytes:
    """Return the JPEG with more data after its last scan, and again after a restart marker, if the scan waits for one."""
    places = dict(parts(data))
    end = places.get(END, len(data) + 2) - 2
    restarts = RESTART.findall(data, places[SCAN], end)
    restart = 0xD0 + (restarts[-1][1] + 1) % 8 if restarts else 0xD0
    return data[:end] + MORE + bytes((0xFF, restart)) + MORE + bytes((0xFF, END))
