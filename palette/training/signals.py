"""Signals during training: noted, and looked at after the step."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Signals:
    """What was asked for since the last look: SIGTERM asks to save, SIGINT (Ctrl-C) to save and stop.

    Only rank 0 does what is asked; the others go on, and lose it at their next exchange if it has stopped.
    """

    save: bool = False
    stop: bool = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        self.save = True
        self.stop = self.stop or number == signal.SIGINT


@contextmanager
def signals() -> Iterator[Signals]:
    """Take SIGTERM and SIGINT note of, instead of dying of them."""
    received = Signals()
    before = {number: signal.signal(number, received.receive) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, old in before.items():
            signal.signal(number, old)
