"""Progress of a training, readable from other shells: `heartbeat.json` in its state folder, renewed every 10 s."""

import time
from dataclasses import dataclass
from pathlib import Path

from palette.system.jobs import record
from palette.training.trainer import Trainer

EVERY = 10.0
"""Seconds between updates."""


@dataclass
class Heartbeat:
    """Writer of `heartbeat.json`. folder: the training's state folder. Only rank 0 writes."""

    folder: Path
    last: float = -EVERY

    def __call__(self, trainer: Trainer, images_per_second: float | None, saved: tuple[int, float] | None) -> None:
        """Write if the interval has passed or the training is done.

        saved: step and time of the last saved state, if any.
        """
        now, spec = time.monotonic(), trainer.spec
        if now - self.last < EVERY and trainer.step < spec.steps:
            return
        self.last = now
        on_gpu = trainer.world.device.type == "cuda"
        record(
            self.folder / "heartbeat.json",
            stage=spec.folder,
            step=trainer.step,
            steps=spec.steps,
            images_per_second=images_per_second,
            seconds_left=(spec.steps - trainer.step) * spec.batch_size / images_per_second
            if images_per_second
            else None,
            seconds=round(trainer.seconds, 1),
            devices=trainer.world.size,
            device=trainer.world.device.type,
            gpu_hours=round(trainer.seconds * trainer.world.size / 3600, 4) if on_gpu else 0.0,
            checkpoint={"step": saved[0], "time": round(saved[1], 1)} if saved else None,
        )
