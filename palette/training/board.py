"""The log for TensorBoard: `tensorboard --logdir results/state/<key>/tensorboard`."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

SCALARS = ("loss", "validation_loss", "lr", "images_per_second")


class Board:
    """TensorBoard log of scalars and previews."""

    def __init__(self, folder: Path, step: int) -> None:
        """step: where the training continues; entries of an earlier run for later steps are hidden."""
        from torch.utils.tensorboard import SummaryWriter  # here: the package is an extra, and slow to import

        self.writer = SummaryWriter(str(folder), purge_step=step + 1)

    def scalars(self, line: dict[str, float | None]) -> None:
        """Write the values of one line of the log."""
        for name in SCALARS:
            if (value := line.get(name)) is not None:
                self.writer.add_scalar(name, value, line["step"])
        self.writer.flush()

    def picture(self, pixels: npt.NDArray[np.uint8], step: int) -> None:
        """Write a preview: uint8 [H, W, 3]."""
        self.writer.add_image("preview", pixels, step, dataformats="HWC")

    def close(self) -> None:
        self.writer.close()
