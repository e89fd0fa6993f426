"""What a training tells while it runs: `log.jsonl`, the log for TensorBoard, and `heartbeat.json`, all in its state folder."""

import json
import math
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from palette.system.files import write_text
from palette.system.jobs import record
from palette.training.trainer import Trainer, learning_rate

SCALARS = ("loss", "validation_loss", "lr", "images_per_second")
"""Entries of a line that TensorBoard shows."""
EVERY = 10.0
"""Seconds between updates of the heartbeat."""


def is_logged(step: int, last: int) -> bool:
    """Return whether the log has a line after `step` steps.
    It has one every 10 steps up to 1000, every 100 up to 10,000, every 1000 from there, and for the last step."""
    return step == last or step % min(max(10, 10 ** (len(str(step)) - 2)), 1000) == 0


def memory_gb(device: torch.device) -> float:
    """Return the peak memory so far in GB: of tensors on the GPU, of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


class Log:
    """`log.jsonl` in the state folder. Each line describes the steps since the previous line:

    loss: mean over these steps. validation_loss: where it was measured. lr: of the last step. images_per_second:
    including everything done in between, such as validation and saving. data_wait: fraction of that time in which this
    process waited for data. memory_gb: the peak so far. seconds: time spent training, over all runs. skipped_steps,
    loss_scale: fp16 only.
    """

    def __init__(self, folder: Path, trainer: Trainer) -> None:
        """Remove lines after the trainer's step: they are from a run that ended before it saved its state."""
        self.path, self.trainer = folder / "log.jsonl", trainer
        self.sum = torch.zeros((), device=trainer.world.device)
        self.since, self.seconds, self.waited, self.note = trainer.step, trainer.seconds, trainer.waited, ""
        self.images_per_second: float | None = None
        """Speed in the last line."""
        self.board: Any = None
        """TensorBoard's writer, if it is enabled."""
        if trainer.world.leads:
            write_text(self.path, "".join(line + "\n" for line in lines_up_to(self.path, trainer.step)))
            if trainer.spec.runtime.tensorboard:
                from torch.utils.tensorboard import SummaryWriter  # here: the package is an extra, and slow to import

                self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=trainer.step + 1)

    def add(self, value: Tensor, validation: float | None = None) -> None:
        """Count the loss of one step; write a line if one is due or if there is a validation loss to report."""
        self.sum += value
        if validation is not None or is_logged(self.trainer.step, self.trainer.spec.steps):
            self._write(validation)

    def picture(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Write a preview, uint8 [H, W, 3], to TensorBoard if it is enabled."""
        if self.board is not None:
            self.board.add_image("preview", pixels, self.trainer.step, dataformats="HWC")

    def close(self) -> None:
        if self.board is not None:
            self.board.close()

    def _write(self, validation: float | None) -> None:
        trainer = self.trainer
        mean = trainer.world.mean(self.sum).item() / (trainer.step - self.since)
        trainer.require_finite()
        line = self._line(mean, validation)
        if trainer.world.leads:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, allow_nan=False) + "\n")
        if self.board is not None:
            for name in SCALARS:
                if (number := line.get(name)) is not None:
                    self.board.add_scalar(name, number, trainer.step)
            self.board.flush()
        self.sum.zero_()
        self.since, self.seconds, self.waited = trainer.step, trainer.seconds, trainer.waited
        self.images_per_second = line["images_per_second"]
        self.note = f"{line['images_per_second']} images/s, loss {mean:.4f}, {line['memory_gb']} GB"

    def _line(self, mean: float, validation: float | None) -> dict[str, float | None]:
        trainer = self.trainer
        seconds = max(trainer.seconds - self.seconds, 1e-9)
        line = {
            "step": trainer.step,
            "loss": rounded(mean, 6),
            "lr": learning_rate(trainer.step - 1, trainer.spec),
            "images_per_second": round((trainer.step - self.since) * trainer.spec.batch_size / seconds, 2),
            "data_wait": round(min((trainer.waited - self.waited) / seconds, 1.0), 4),
            "memory_gb": round(memory_gb(trainer.world.device), 3),
            "seconds": round(trainer.seconds, 2),
        }
        if validation is not None:
            line["validation_loss"] = rounded(validation, 6)
        if trainer.scaler.is_enabled():
            line |= {"skipped_steps": int(trainer.skipped.item()), "loss_scale": trainer.scaler.get_scale()}
        return line


def rounded(value: float, digits: int) -> float | None:
    """Round a value; None if it is not finite, because JSON has no infinity. A loss that overflows fp16 is null."""
    return round(value, digits) if math.isfinite(value) else None


def lines_up_to(path: Path, step: int) -> Iterator[str]:
    """Yield the lines of a log up to `step`, stopping at the first incomplete line."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        try:
            if json.loads(line)["step"] > step:
                return
        except (json.JSONDecodeError, KeyError, TypeError):
            return
        yield line


@dataclass
class Heartbeat:
    """Writer of `heartbeat.json`, which shows the progress to other shells. Only rank 0 writes."""

    folder: Path
    last: float = -EVERY

    def __call__(self, trainer: Trainer, images_per_second: float | None, saved: tuple[int, float] | None) -> None:
        """Write if the interval has passed or the training is done. saved: step and time of the last saved state."""
        now, spec, world = time.monotonic(), trainer.spec, trainer.world
        if now - self.last < EVERY and trainer.step < spec.steps:
            return
        self.last = now
        images_left = (spec.steps - trainer.step) * spec.batch_size
        on_gpu = world.device.type == "cuda"
        record(
            self.folder / "heartbeat.json",
            stage=spec.folder,
            step=trainer.step,
            steps=spec.steps,
            images_per_second=images_per_second,
            seconds_left=images_left / images_per_second if images_per_second else None,
            seconds=round(trainer.seconds, 1),
            devices=world.size,
            device=world.device.type,
            gpu_hours=round(trainer.seconds * world.size / 3600, 4) if on_gpu else 0.0,
            checkpoint={"step": saved[0], "time": round(saved[1], 1)} if saved else None,
        )
