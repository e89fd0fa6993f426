"""The training log: one JSON object a line."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from palette.files import write_text
from palette.training.trainer import Trainer, learning_rate


def is_logged(step: int, last: int) -> bool:
    """Whether the log has a line after `step` steps: each 10th up to 1000, 100th up to 10,000, then 1000th; and the last."""
    return step == last or step % min(max(10, 10 ** (len(str(step)) - 2)), 1000) == 0


class Log:
    """`log.jsonl` in the state folder: step, loss (mean since the line before), lr, images_per_second, seconds."""

    def __init__(self, path: Path, trainer: Trainer) -> None:
        """Lines after the trainer's step, from a run that did not live to save its state, are cut off."""
        self.path, self.trainer = path, trainer
        self.sum = torch.zeros((), device=trainer.world.device)
        self.since, self.seconds, self.note = trainer.step, trainer.seconds, ""
        if trainer.world.leads:
            write_text(path, "".join(line + "\n" for line in lines_up_to(path, trainer.step)))

    def add(self, value: Tensor) -> None:
        """Count the loss of one step; write a line if one is due."""
        self.sum += value
        if is_logged(self.trainer.step, self.trainer.spec.steps):
            self._write()

    def _write(self) -> None:
        trainer = self.trainer
        steps, seconds = trainer.step - self.since, trainer.seconds - self.seconds
        mean = trainer.world.mean(self.sum).item() / steps
        trainer.require_finite()
        rate = steps * trainer.spec.batch_size / max(seconds, 1e-9)
        line = {
            "step": trainer.step,
            "loss": round(mean, 6),
            "lr": learning_rate(trainer.step - 1, trainer.spec),
            "images_per_second": round(rate, 2),
            "seconds": round(trainer.seconds, 2),
        }
        if trainer.world.leads:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        self.sum.zero_()
        self.since, self.seconds, self.note = trainer.step, trainer.seconds, f"loss {mean:.4f}"


def lines_up_to(path: Path, step: int) -> Iterator[str]:
    """The lines of a log up to `step`; nothing after the first line that is not whole."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        try:
            if json.loads(line)["step"] > step:
                return
        except (json.JSONDecodeError, KeyError, TypeError):
            return
        yield line
