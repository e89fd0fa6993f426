"""Black and white values of a dataset's pictures with more than 8 bits: declared, measured, or rejected as unclear."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from palette.config.datasets import Squares, ValueRange
from palette.data.images.depth import Range, in_words
from palette.data.sources.manifest import Entry, Manifest
from palette.errors import DataError

SHOWN = 5
"""Maximum number of pictures listed in a message."""


class Ranges(NamedTuple):
    """Values mapped to black and white, for images and for conditions; None: the range of each picture's type."""

    images: Range | None
    conditions: Range | None


def ranges(options: Squares, manifest: Manifest, training: Callable[[], Iterator[Entry]]) -> Ranges:
    """Return the ranges that `options` define, as numbers.

    training: returns the entries of the training images. Raises DataError for pictures with unclear black and white.
    """
    images = _range(options.range, "range", manifest.path, manifest.images(), training())
    if manifest.source != "pairs":
        return Ranges(images, None)
    conditions = (entry["condition"] for entry in manifest.images())
    learned = (entry["condition"] for entry in training())
    return Ranges(images, _range(options.conditions.range, "conditions: {range}", manifest.path, conditions, learned))


def _range(
    declared: ValueRange | None, option: str, path: Path, entries: Iterable[Entry], training: Iterable[Entry]
) -> Range | None:
    """Return the range of all `entries`, as declared by the `option` of `prepare`."""
    if declared == "measured":
        measured = Measured(training, "values")
        if measured.low >= measured.high:
            raise DataError(
                f"{path}: `{option}` of `prepare` is `measured`, but the training images of more than 8 bits "
                f"({measured.count}) do not have two different values. Give the two values of black and white instead."
            )
        return measured.low, measured.high
    unclear = Measured(entries, "unclear")
    if declared is None and unclear.count:
        raise DataError(
            f"{path}: {unclear.count} pictures of more than 8 bits do not fill the range of their type, so nothing says which "
            f"values are black and white. They have {in_words((unclear.low, unclear.high))}:{unclear.examples}\nSet `{option}` "
            "of `prepare` to the values of black and white, such as [0, 4095] or [0, 65535], or to `measured`, the smallest "
            "and the largest value of the training images."
        )
    return declared


class Measured:
    """Smallest and largest value of the entries that have the field `having`, their number, and examples."""

    def __init__(self, entries: Iterable[Entry], having: str) -> None:
        self.low, self.high = float("inf"), float("-inf")
        self.count, self.examples = 0, ""
        for entry in entries:
            if having in entry:
                low, high = entry["values"]
                self.low, self.high, self.count = min(self.low, low), max(self.high, high), self.count + 1
                if self.count <= SHOWN:
                    self.examples += f"\n  {entry['file']}: {in_words((low, high))}"
