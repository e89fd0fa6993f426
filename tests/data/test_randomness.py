import numpy as np
import pytest

from palette.system.randomness import generator


def test_same_key_same_numbers_on_every_machine() -> None:
    # Pinned: a change here changes every test mask and every sample.
    assert generator(0, "mask", "centre", 3).integers(0, 2**32, 3).tolist() == PINNED


PINNED = [1590990035, 1110306259, 642765714]


@pytest.mark.parametrize("other", [(1, "a", 2), (0, "b", 2), (0, "a", 3), (0, "a", "2"), (0, "a"), (0, "a", 2, 0)])
def test_another_key_gives_other_numbers(other: tuple[int, ...]) -> None:
    assert not np.array_equal(generator(0, "a", 2).random(4), generator(*other).random(4))


def test_numpy_integers_count_as_integers() -> None:
    assert generator(0, "a", 2).random() == generator(np.int64(0), "a", np.int64(2)).random()


def test_floats_are_refused() -> None:
    with pytest.raises(TypeError):
        generator(0, 0.5)  # type: ignore[arg-type]
