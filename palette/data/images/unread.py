"""Names of image formats that Pillow does not support, so that such files are not reported as damaged."""

import io
import struct

from PIL.TiffImagePlugin import BITSPERSAMPLE, PREFIXES, SAMPLEFORMAT, SAMPLESPERPIXEL, ImageFileDirectory_v2

from palette.data.images.jpeg import parts

NUMBERS = {2: "signed integers", 3: "floats"}
"""Values of the tag `SAMPLEFORMAT`; all others mean integers."""
HEIC = (b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1")
"""Brands of ISO media files that are HEIC."""
JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""JPEG markers that are followed by the precision."""


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
