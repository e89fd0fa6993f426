"""What is not read: files that cost too much or lack rows that they declare, and formats that Pillow does not support.

Pillow reads small files that take minutes to decode, and accepts a file that ends at the end of a row as complete.
"""

import io
import struct

from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, PREFIXES, SAMPLEFORMAT, SAMPLESPERPIXEL, ImageFileDirectory_v2

from palette.data.images.jpeg import KINDS, parts, scans
from palette.data.images.png import has_all_rows

PIXELS = 89_478_485
"""Maximum number of pixels of an image, width times height: where Pillow begins to warn of a decompression bomb."""
SCANS = 100
"""Maximum number of scans of a JPEG: each covers the whole image, even in a few bytes. Encoders write 1 to 20."""
NUMBERS = {2: "signed integers", 3: "floats"}
"""Values of the tag `SAMPLEFORMAT`; all others mean integers."""
HEIC = (b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1")
"""Brands of ISO media files that are HEIC."""
JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""JPEG markers that are followed by the precision."""


def refuse_bombs(image: Image.Image, data: bytes) -> None:
    """Raise DecompressionBombError for an opened image with too many pixels, or a JPEG with too many scans."""
    if image.width * image.height > PIXELS:
        raise Image.DecompressionBombError(f"{image.width} × {image.height} pixels; at most {PIXELS:,} are read")
    if image.format in KINDS and (found := scans(data)) > SCANS:
        raise Image.DecompressionBombError(f"{found} scans; at most {SCANS} are read")


def refuse_missing_strips(image: Image.Image) -> None:
    """Raise OSError for an opened image whose tiles do not reach its last row: a TIFF with missing strips."""
    ends = [tile[1][3] for tile in getattr(image, "tile", ()) if tile[1]]
    if ends and max(ends) < image.height:
        raise OSError(f"image file is truncated: it has {max(ends)} of {image.height} rows")


def refuse_missing_rows(image: Image.Image, data: bytes) -> None:
    """Raise OSError for a loaded PNG whose file lacks rows, which Pillow leaves black."""
    if image.format != "PNG":
        return
    last = image.crop((0, image.height - 1, image.width, image.height))
    if last.getbbox(alpha_only=False) is None and not has_all_rows(data):
        raise OSError("image file is truncated: it has fewer rows than it says")


def kind_of(data: bytes) -> str:
    """Return the format of image data that Pillow did not identify; empty if it is not a known image format."""
    if data[4:8] == b"ftyp" and data[8:12] in HEIC:
        return "a HEIC picture"
    if data.startswith(JPEG_XL):
        return "a JPEG XL picture"
    if data.startswith(b"\xff\xd8"):
        precisions = [data[place + 2] for kind, place in parts(data) if kind in FRAMES and place + 2 < len(data)]
        return f"a JPEG of {precisions[0]} bits" if precisions and precisions[0] != 8 else ""
    return _tiff(data) if data.startswith(tuple(PREFIXES)) else ""


def _tiff(data: bytes) -> str:
    file = io.BytesIO(data)
    try:
        tags = ImageFileDirectory_v2(file.read(16 if 43 in data[2:4] else 8))
        file.seek(tags.next)
        tags.load(file)
        numbers = NUMBERS.get(tags.get(SAMPLEFORMAT, (1,))[0], "integers")
        return f"a TIFF of {tags.get(SAMPLESPERPIXEL, 1)} bands of {max(tags.get(BITSPERSAMPLE, (1,)))}-bit {numbers}"
    except (OSError, ValueError, SyntaxError, TypeError, LookupError, OverflowError, struct.error):
        return ""
