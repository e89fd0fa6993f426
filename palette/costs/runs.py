"""Start times of the workflow's runs, which tell what records an estimate could use then."""

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from palette.costs.networks import FOLDER

FILE = f"{FOLDER}/runs.txt"
"""File in the results folder, with one time per line."""
SECOND = timedelta(seconds=1)
"""Tolerance in comparing times, because those in cards are whole seconds."""


def note(results: Path) -> None:
    """Record that a run begins now."""
    file = results / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as times:
        times.write(datetime.now(UTC).isoformat(timespec="seconds") + "\n")


def beginnings(results: Path) -> list[datetime]:
    """Return the start times of the runs in this folder, in order; none if they were not recorded."""
    found = []
    with suppress(OSError, UnicodeDecodeError):
        for line in (results / FILE).read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):  # a line cut short by a full disk
                found.append(datetime.fromisoformat(line))
    return sorted(found)


def of_job(runs: Sequence[datetime], began: datetime) -> datetime:
    """Return the start of the run in which a job began; its own start if it was run by hand before all runs."""
    number = bisect_right(runs, began + SECOND)
    return runs[number - 1] if number else began
