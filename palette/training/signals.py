"""Signals during training: recorded, and handled after the step."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SAVE = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
"""Requests to save: a cluster sends one of them before it ends a job. SIGINT (Ctrl-C) requests saving and stopping."""


def not_ignored(numbers: Sequence[signal.Signals]) -> list[signal.Signals]:
    """Return those of `numbers` that this process does not ignore, as it ignores SIGHUP under `nohup`. SIGTERM is
    always included: the shell of a Slurm job ignores it in order to outlive it, and its children inherit that."""
    return [n for n in numbers if n == signal.SIGTERM or signal.getsignal(n) is not signal.SIG_IGN]


@dataclass
class Signals:
    """Requests since the last check. Only rank 0 acts on them;
    the others continue, and lose the connection at their next exchange if rank 0 has stopped."""

    save: bool = False
    stop: bool = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        self.save = True
        self.stop = self.stop or number == signal.SIGINT


@contextmanager
def signals() -> Iterator[Signals]:
    """Record signals instead of letting them kill the process; signals that it ignores stay ignored."""
    received = Signals()
    before = {number: signal.signal(number, received.receive) for number in not_ignored([*SAVE, signal.SIGINT])}
    try:
        yield received
    finally:
        for number, old in before.items():
            signal.signal(number, old)
