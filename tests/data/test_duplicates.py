"""The limit between images that look alike and images that do not."""

import pytest

from palette.data.images.lookalikes import Looks

TEST = 0x0F0F_F00F_1234_ABCD


def differing(bits: int) -> int:
    """The hash of `TEST` with so many of its bits changed."""
    return TEST ^ (1 << bits) - 1


@pytest.mark.parametrize("bits", [0, 1, 4])
def test_four_bits_are_near(bits: int) -> None:
    looks = Looks()
    looks.add(~TEST & (1 << 64) - 1, "another")
    looks.add(TEST, "test")
    assert looks.nearest(differing(bits), "train") == (1, bits, False)


def test_five_bits_are_not() -> None:
    looks = Looks()
    looks.add(TEST, "test")
    assert looks.nearest(differing(5), "train") is None
    assert looks.nearest(differing(5), "test") == (0, 0, True)  # the same bytes


def test_empty_images_are_never_near() -> None:
    """Fifteen of 64 bits; sixteen are enough."""
    for bits, found in ((15, None), (16, (0, 0, False))):
        looks = Looks()
        looks.add((1 << bits) - 1, "test")
        assert looks.nearest((1 << bits) - 1, "train") == found
