"""Training: optimizer steps from the last saved state to `spec.steps`."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from palette.errors import Interrupted
from palette.system.progress import Progress, say
from palette.training import start
from palette.training.allocation import Allocation, allocation
from palette.training.checkpoint import States
from palette.training.distributed import World
from palette.training.log import Heartbeat, Log
from palette.training.machine import check
from palette.training.previews import Previews
from palette.training.signals import Signals, signals
from palette.training.stream import Images, Stream, batches, micro_batches, slices
from palette.training.trainer import Trainer, build
from palette.training.validation import Validation, split

if TYPE_CHECKING:
    from palette.stages.train import TrainSpec


def train(spec: "TrainSpec", images: Images, state_folder: Path, world: World) -> Trainer:
    """Train to `spec.steps`, from the newest state in `state_folder` if there is one, and return the finished trainer.

    Raises ConfigError (this machine cannot run the spec), DataError (the model to start from is not the expected one),
    UserError (the training diverged) or Interrupted.
    """
    check(spec, world)
    images, held_out = split(images, spec.validation_images)
    stream = Stream(images, spec.mix, spec.seed, spec.batch_size, spec.image_size, spec.flip)
    states = States(state_folder, spec.runtime.checkpoints_kept, spec.runtime.milestones)
    trainer = prepare(spec, states, world)
    log = Log(state_folder, trainer)
    validation = Validation(held_out, spec) if held_out else None
    with_previews = world.leads and spec.runtime.preview_every
    previews = Previews(held_out or images, spec, state_folder / "previews") if with_previews else None

    def watch(loss: Tensor) -> None:
        log.add(loss, validation(trainer) if validation and validation.due(trainer.step) else None)
        if previews and previews.due(trainer.step):
            log.picture(previews(trainer))

    with closing(log), signals() as received:
        try:
            _run(trainer, stream, Saving(states), log, watch, received)
        except RuntimeError:  # from an exchange with rank 0, which has stopped after Ctrl-C
            if world.leads or not received.stop:
                raise
            raise Interrupted(f"train {spec.name}: rank {world.rank} stopped with rank 0.") from None
    return trainer


def prepare(spec: "TrainSpec", states: States, world: World) -> Trainer:
    """Return a trainer at the newest state; if there is none, at step 0, with the weights that the spec starts from."""
    trainer = build(spec, world)
    newest = world.from_leader(states.newest(spec.steps) if world.leads else None)
    if newest is not None:
        trainer.resume(newest)
        if world.leads:
            say(f"{spec.name}: going on from step {trainer.step}")
    elif spec.start_sha256 is not None:
        start.begin(trainer)
        if world.leads:
            say(f"{spec.name}: starting from {spec.runtime.start_from}")
    if newest is None and world.leads:
        (states.folder / "adopted.json").unlink(missing_ok=True)  # no step of other code is part of this training
    return trainer


@dataclass
class Saving:
    """Schedule for saving states: by step, by time, and on request by a signal. Rank 0 writes, and its clock decides.
    The others need not know: they wait for it at their next exchange of gradients."""

    states: States
    last: float = field(default_factory=time.monotonic)
    saved: tuple[int, float] | None = None
    """Step and time of the last saved state."""

    def due(self, trainer: Trainer) -> bool:
        step, spec = trainer.step, trainer.spec
        by_step = step % spec.runtime.checkpoint_every == 0 or step in spec.runtime.milestones or step == spec.steps
        return by_step or time.monotonic() - self.last >= 60 * spec.runtime.checkpoint_minutes

    def __call__(self, trainer: Trainer) -> None:
        trainer.save(self.states)
        self.last = time.monotonic()
        self.saved = (trainer.step, time.time())


def _run(
    trainer: Trainer, stream: Stream, save: Saving, log: Log, watch: Callable[[Tensor], None], received: Signals
) -> None:
    """Train to the last step. watch: called after each step, on all processes, with its loss."""
    spec, world, heartbeat = trainer.spec, trainer.world, Heartbeat(log.path.parent)
    places = slices(spec.batch_size, world.rank, world.size, micro_batches(spec, world.size))
    progress = Progress(f"train {spec.name}", spec.steps, "steps", start=trainer.step)
    job = allocation() if world.leads else Allocation()
    began = time.monotonic() - trainer.seconds
    with batches(stream, range(trainer.step, spec.steps), places, spec.runtime.threads) as prepared:
        while trainer.step < spec.steps:
            value = trainer.update(prepared)
            trainer.seconds = time.monotonic() - began
            watch(value)
            # Checked after a step only, so that each run of the job makes progress.
            out_of_time = job.nearly_over and trainer.step < spec.steps
            if received.save or out_of_time or save.due(trainer):
                save(trainer)
                if received.save and world.leads:
                    say(f"train {spec.name}: asked by a signal, saved at step {trainer.step}")
                received.save = False
            if out_of_time:
                job.requeue()
            if world.leads:  # after saving: the output's reader may be gone
                progress.advance(note=log.note)
                heartbeat(trainer, log.images_per_second, save.saved)
            if received.stop and world.leads and trainer.step < spec.steps:
                raise Interrupted(
                    f"train {spec.name}: stopped at step {trainer.step} of {spec.steps}; its state is saved. "
                    "Run the same again to go on."
                )
