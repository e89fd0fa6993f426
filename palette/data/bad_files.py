"""Count the unusable files of a dataset and stop when there are too many."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from palette.data.images.pictures import FORMATS
from palette.data.sources.manifest import Entry
from palette.errors import DataError

SHOWN = 10
"""Maximum number of files listed in a message."""


@dataclass
class BadFiles:
    """Counter of the unusable files of a dataset.

    place: prefix of messages. total: number of files in the dataset. limit: maximum share of bad files. One bad file is
    always allowed unless `limit` is 0, because a thousandth of 300 photographs is less than one. strict: allow none.
    """

    place: str
    total: int
    limit: float
    strict: bool
    count: int = 0
    examples: list[Entry] = field(default_factory=list)

    def add(self, file: str, reason: str) -> None:
        """Count a bad file. Raises DataError if it is one too many."""
        self.count += 1
        if len(self.examples) < SHOWN:
            self.examples.append({"file": file, "reason": reason})
        allowed = max(1, self.limit * self.total) if self.limit else 0
        if self.strict or self.count > allowed:
            self._stop()

    def add_rejected(self, rejected: Iterable[Entry]) -> None:
        """Count the files that `fetch` rejected, except those without an image extension: a README does no harm."""
        for entry in rejected:
            if entry["file"].lower().endswith(FORMATS):
                self.add(entry["file"], entry["reason"])

    @property
    def shown(self) -> str:
        """First bad files, one per line."""
        return "".join(f"\n  {entry['file']}: {entry['reason']}" for entry in self.examples)

    def _stop(self) -> None:
        if self.strict:
            what = "a bad file, and `strict` is set"
        else:
            what = (
                f"{self.count} of {self.total} files are bad up to here ({self.count / self.total:.2%}), and `bad_limit` is "
                f"{self.limit:.2%}"
            )
        raise DataError(
            f"{self.place}: {what}:{self.shown}\nRepair these files or take them away, or raise `bad_limit` of `prepare`."
        )
