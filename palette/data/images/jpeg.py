"""What the markers of a JPEG tell: its scans, and whether it has all the blocks that it promises.

libjpeg makes gray whatever it lacks of a JPEG that ends with an end marker, and says nothing that Pillow would hand on.
"""

import io
import re
from collections.abc import Iterator

from PIL import Image

KINDS = ("JPEG", "MPO")
"""Pillow's names of a JPEG, and of one that others follow in the same file."""
SCAN, END, ALONE = 0xDA, 0xD9, 0x01
"""Markers: a scan begins, the picture ends, and one that no length follows."""
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""The next marker that starts a part: compressed data have none."""
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
GRAY = range(126, 130)
"""Values of a block that nothing was said of, after all conversions."""
MORE = bytes(range(1, 251))
"""Compressed data that mean something or other, without a marker in them."""


def parts(data: bytes) -> Iterator[tuple[int, int]]:
    """The markers up to the picture's end: each one's kind, and the place behind it.

    Those of thumbnails in its headers, and what follows its end, do not count.
    """
    marker = MARKER.search(data, 2)
    while marker:
        kind, place = data[marker.end() - 1], marker.end()
        yield kind, place
        if kind == END:
            return
        length = 0 if kind == ALONE else int.from_bytes(data[place : place + 2])
        marker = MARKER.search(data, place + length)


def scans(data: bytes) -> int:
    """The number of scans."""
    return sum(kind == SCAN for kind, _ in parts(data))


def refuse_missing_blocks(image: Image.Image, data: bytes) -> None:
    """Raise OSError for a loaded JPEG that ends too early.

    There are two signs, which cost little to look for: its last block is gray, or it lacks scans. The proof is to decode it again
    with more data before its end, which change no pixel of a whole one.
    """
    if image.format not in KINDS or not (_ends_gray(image) or _lacks_scans(image, data)):
        return
    with Image.open(io.BytesIO(_with_more(data))) as other:
        changed = other.tobytes() != image.tobytes()
    if changed:
        raise OSError("image file is truncated: it ends before its last block")


def _ends_gray(image: Image.Image) -> bool:
    """Whether the last block of 8 × 8 pixels is of a middle gray, as far as the picture shows it."""
    width, height = image.size
    block = image.crop(((width - 1) // 8 * 8, (height - 1) // 8 * 8, width, height))
    brightness = block.getchannel("K") if image.mode == "CMYK" else block.convert("L")
    return all(value in GRAY for value in brightness.getextrema())


def _lacks_scans(image: Image.Image, data: bytes) -> bool:
    """Whether some coefficient of some component never came, or not to its last bit."""
    if scans(data) < 2:  # what a single scan lacks is gray
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
    """A JPEG with more data at the end of its last scan: also behind a restart marker, should it wait for one."""
    places = dict(parts(data))
    end = places.get(END, len(data) + 2) - 2
    restarts = RESTART.findall(data, places[SCAN], end)
    restart = 0xD0 + (restarts[-1][1] + 1) % 8 if restarts else 0xD0
    return data[:end] + MORE + bytes((0xFF, restart)) + MORE + bytes((0xFF, END))
