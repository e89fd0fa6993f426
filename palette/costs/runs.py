"""When the runs of the workflow began: what an estimate could rest on then."""

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from palette.costs.networks import FOLDER

FILE = f"{FOLDER}/runs.txt"
"""In the results folder: a time a line."""
SECOND = timedelta(seconds=1)
"""The cards' times are whole seconds."""


def note(results: Path) -> None:
    """Write down that a run begins now."""
    file = results / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as times:
        times.write(datetime.now(UTC).isoformat(timespec="seconds") + "\n")


def beginnings(results: Path) -> list[datetime]:
    """When the runs in this folder began, in order; none where nobody wrote it down."""
    found = []
    with suppress(OSError, UnicodeDecodeError):
        for line in (results / FILE).read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):  # half a line of a full disk
                found.append(datetime.fromisoformat(line))
    return sorted(found)


def of_job(runs: Sequence[datetime], began: datetime) -> datetime:
    """The beginning of the run in which a job began; of a job that was run by hand, before all of them, its own."""
    number = bisect_right(runs, began + SECOND)
    return runs[number - 1] if number else began
