"""Training: optimizer steps from the last saved state to `spec.steps`."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from palette.errors import ConfigError, Interrupted
from palette.progress import Progress
from palette.spec import TrainSpec
from palette.stage import say
from palette.training.checkpoint import States
from palette.training.distributed import World
from palette.training.log import Log
from palette.training.stream import Images, Stream, batches, slices
from palette.training.trainer import Trainer, build


def cpu_has_bf16() -> bool:
    """Whether the processor has bfloat16 instructions; False where the system does not tell."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def check(spec: TrainSpec, world: World) -> None:
    """Raise ConfigError for what this machine cannot do as asked."""
    parts = world.size * spec.accumulate
    if spec.batch_size % parts:
        raise ConfigError(
            f"train: `batch_size` {spec.batch_size} is not a multiple of {parts} ({world.size} devices × `accumulate` "
            f"{spec.accumulate}). Nothing is rounded silently: choose a multiple of {parts}, or another `accumulate`."
        )
    has_bf16 = cpu_has_bf16() if world.device.type == "cpu" else torch.cuda.is_bf16_supported()
    if spec.precision == "bf16" and not has_bf16:
        raise ConfigError(
            "train: `precision: bf16`, but this device has no bfloat16 instructions; emulated, it is tens of times slower "
            "than fp32. Use `precision: fp32` here."
        )


@dataclass
class Signals:
    """What was asked for since the last look: SIGTERM asks to save, SIGINT (Ctrl-C) to save and stop."""

    save: bool = False
    stop: bool = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        self.save = True
        self.stop = self.stop or number == signal.SIGINT


@contextmanager
def signals(leads: bool) -> Iterator[Signals]:
    """Take SIGTERM and SIGINT note of, instead of dying of them. Ranks other than 0 leave both to rank 0."""
    received = Signals()
    numbers = (signal.SIGTERM, signal.SIGINT)
    handler: Callable[[int, FrameType | None], None] | signal.Handlers = received.receive if leads else signal.SIG_IGN
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield received
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def train(spec: TrainSpec, images: Images, state_folder: Path, world: World) -> Trainer:
    """Train to `spec.steps`, from the newest state in `state_folder` if there is one; returns the finished trainer.

    Raises ConfigError (this machine cannot do what the spec asks), UserError (the training diverged) or Interrupted.
    """
    check(spec, world)
    stream = Stream(images, spec.mix, spec.seed, spec.batch_size, spec.image_size, spec.flip)
    states = States(state_folder)
    trainer = build(spec, world)
    newest = world.from_leader(states.newest(spec.steps) if world.leads else None)
    if newest is not None:
        trainer.resume(newest)
        if world.leads:
            say(f"{spec.name}: going on from step {trainer.step}")
    log = Log(states.folder / "log.jsonl", trainer)
    with signals(world.leads) as received:
        _run(trainer, stream, states, log, received)
    return trainer


def _run(trainer: Trainer, stream: Stream, states: States, log: Log, received: Signals) -> None:
    spec, world = trainer.spec, trainer.world
    places = slices(spec.batch_size, world.rank, world.size, spec.accumulate)
    progress = Progress(f"train {spec.name}", spec.steps, "steps", start=trainer.step)
    began = time.monotonic() - trainer.seconds
    with batches(stream, range(trainer.step, spec.steps), places, spec.runtime.threads) as prepared:
        while trainer.step < spec.steps:
            value = trainer.update(prepared)
            trainer.seconds = time.monotonic() - began
            log.add(value)
            due = trainer.step % spec.runtime.checkpoint_every == 0 or trainer.step == spec.steps
            if due or received.save:
                trainer.save(states)
                received.save = False
            if world.leads:  # after saving: nobody may be reading any more
                progress.advance(note=log.note)
            if received.stop and trainer.step < spec.steps:
                raise Interrupted(
                    f"train {spec.name}: stopped at step {trainer.step} of {spec.steps}; its state is saved. "
                    "Run the same again to go on."
                )
