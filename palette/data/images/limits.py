"""Checks that an image file does not cost too much to read and has all the rows that it declares.

Pillow reads small files that take minutes to decode, and accepts a file that ends at the end of a row as complete.
"""

from PIL import Image

from palette.data.images.jpeg import KINDS, scans
from palette.data.images.png import has_all_rows

PIXELS = 89_478_485
"""Maximum number of pixels of an image, width times height: where Pillow begins to warn of a decompression bomb."""
SCANS = 100
"""Maximum number of scans of a JPEG: each covers the whole image, even in a few bytes. Encoders write 1 to 20."""


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
