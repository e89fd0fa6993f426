"""Detection of near-duplicate pictures by perceptual hash."""

from array import array

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

NEAR = 4
"""Maximum number of differing bits, of 64, between the hashes of near duplicates: resized or recompressed copies of
a picture differ in 0 to 4 bits, different photographs in 32 on average."""
FLAT = 16
"""Minimum number of set bits in the hash of a picture with content, which has 32: blank pictures would all match."""


def look(picture: Image.Image) -> int:
    """Return a 64-bit perceptual hash of a picture: ImageHash's `phash`, after downscaling."""
    small = picture.convert("L").resize((64, 64), Image.Resampling.BOX)
    return int(str(imagehash.phash(small)), 16)


class Looks:
    """Index of the test images for comparison with training pictures."""

    def __init__(self) -> None:
        self._bits = array("Q")
        self._contents: dict[str, int] = {}

    def add(self, bits: int, sha256: str) -> None:
        """Add the next test image: its perceptual hash and the SHA-256 of its file."""
        self._contents[sha256] = len(self._bits)
        self._bits.append(bits)

    def nearest(self, bits: int, sha256: str) -> tuple[int, int, bool] | None:
        """Return the most similar test image within `NEAR` bits: its index, differing bits, and whether files are equal."""
        if sha256 in self._contents:
            return self._contents[sha256], 0, True
        if bits.bit_count() < FLAT or not self._bits:
            return None
        distances: npt.NDArray[np.uint8] = np.bitwise_count(np.frombuffer(self._bits, np.uint64) ^ np.uint64(bits))
        index = int(distances.argmin())
        return (index, int(distances[index]), False) if distances[index] <= NEAR else None
