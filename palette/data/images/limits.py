"""What a picture file may ask of a reader, and whether it has all the rows that it promises.

Pillow reads small files that ask for minutes of work, and takes one that ends at a row's end for whole.
"""

from PIL import Image

from palette.data.images.jpeg import KINDS, scans
from palette.data.images.png import has_all_rows

PIXELS = 89_478_485
"""Of the largest picture that is read, in width times height: where Pillow begins to warn of a decompression bomb."""
SCANS = 100
"""Of a JPEG: each goes over the whole picture, in a few bytes if it says nothing. Encoders write 1 to 20."""


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
    if last.getbbox(alpha_only=False) is None and not has_all_rows(data):
        raise OSError("image file is truncated: it has fewer rows than it says")
