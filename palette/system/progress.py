"""Progress of a long stage: share done, rate and remaining time, in lines that suit a terminal and a log."""

import io
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def print_any_text() -> None:
    """Keep the locale from stopping a message: UTF-8 for files and pipes; on a terminal, escapes where needed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def say(message: str) -> None:
    """Print one line for the user, to standard error, at once."""
    print(message, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Return seconds as `1:15` (75) or `1:06:40` (4000)."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class Progress:
    """Counter of items that prints a line every few seconds.

    label: the task, `train photos-jpeg`. total: number of items, 0 if unknown. unit: what an item is, `images`. start:
    items done by an earlier run, which count for the share but not for the rate. every: seconds between lines.
    """

    def __init__(self, label: str, total: int, unit: str, start: int = 0, every: float = 10.0) -> None:
        self.label, self.total, self.unit, self.every = label, total, unit, every
        self.start = self.done = start
        self.began = self.printed = time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count `count` more items; `note` ends the line if one is due."""
        self.done += count
        now = time.monotonic()
        if now - self.printed >= self.every or 0 < self.total <= self.done:
            self.printed = now
            print(self._line(now, note), file=sys.stderr, flush=True)

    def _line(self, now: float, note: str) -> str:
        seconds = max(now - self.began, 1e-9)
        rate = (self.done - self.start) / seconds
        if not self.total:
            return f"{self.label}: {self.done} {self.unit}, {rate:.1f} {self.unit}/s" + (f", {note}" if note else "")
        left = (
            f"{clock((self.total - self.done) / rate)} left"
            if rate > 0 and self.done < self.total
            else f"took {clock(seconds)}"
        )
        share = f"{self.done}/{self.total} {self.unit} ({self.done / self.total:4.0%})"
        return f"{self.label}: {share}, {rate:.1f} {self.unit}/s, {left}" + (f", {note}" if note else "")


def track(items: Iterable[T], label: str, total: int, unit: str) -> Iterator[T]:
    """Yield `items`, showing progress."""
    progress = Progress(label, total, unit)
    for item in items:
        yield item
        progress.advance()
