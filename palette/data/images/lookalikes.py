"""Pictures that look alike, found by a perceptual hash."""

from array import array

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

NEAR = 4
"""Bits of 64 in which the hashes of two pictures may differ that count as the same: other sizes and JPEG qualities of one
picture differ in 0 to 4, different photographs in 32 on average."""
FLAT = 16
"""Set bits of the hash of a picture that shows something; it has 32. Empty ones would all be alike."""


def look(picture: Image.Image) -> int:
    """64 bits that change little where a picture changes little: ImageHash's `phash` of it, made small first."""
    small = picture.convert("L").resize((64, 64), Image.Resampling.BOX)
    return int(str(imagehash.phash(small)), 16)


class Looks:
    """The test images, to compare training pictures with."""

    def __init__(self) -> None:
        self._bits = array("Q")
        self._contents: dict[str, int] = {}

    def add(self, bits: int, sha256: str) -> None:
        """The next test image: its hash and that of its file's bytes."""
        self._contents[sha256] = len(self._bits)
        self._bits.append(bits)

    def nearest(self, bits: int, sha256: str) -> tuple[int, int, bool] | None:
        """The test image that a picture is most alike: its number, the bits in which they differ, and whether the files are equal.

        None if there is none within `NEAR` bits.
        """
        if sha256 in self._contents:
            return self._contents[sha256], 0, True
        if bits.bit_count() < FLAT or not self._bits:
            return None
        distances: npt.NDArray[np.uint8] = np.bitwise_count(np.frombuffer(self._bits, np.uint64) ^ np.uint64(bits))
        index = int(distances.argmin())
        return (index, int(distances[index]), False) if distances[index] <= NEAR else None
