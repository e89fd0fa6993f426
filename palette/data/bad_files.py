"""Files of a dataset that cannot be used: so many may be left out, and no more."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from palette.data.images.pictures import FORMATS
from palette.data.sources.manifest import Entry
from palette.errors import DataError

SHOWN = 10
"""Files that a message lists."""


@dataclass
class BadFiles:
    """Counts them. place: for messages. total: files of the dataset. strict: none may be bad.

    limit: share of the files that may be bad. One may be in any case, unless it is 0: a thousandth of 300 photographs is none.
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
        """Count what `fetch` left out, but for files that are no pictures by their ending: a README does no harm."""
        for entry in rejected:
            if entry["file"].lower().endswith(FORMATS):
                self.add(entry["file"], entry["reason"])

    @property
    def shown(self) -> str:
        """The first of them, a line each."""
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
