"""Evaluation inputs: test images, each with one fixed degradation."""

from pathlib import Path

from palette.config.tasks import Degradation
from palette.data.images.degraded import Degraded, Evaluation
from palette.data.store.store import ImageStore
from palette.data.tasks import TASKS
from palette.system.randomness import generator


class Inputs:
    """Sequence of degraded test images: `inputs[i]` is test image `i`, degraded identically for every model and seed.

    prepare: folder of a prepare stage. masks: path of `masks.zip`, for tasks with a mask. strength: see
    `Evaluation`.
    """

    def __init__(
        self, prepare: Path, masks: Path | None, degradation: Degradation, strength: float | None = None
    ) -> None:
        self.degradation, self.strength = degradation, strength
        self.tests = ImageStore(prepare / "test.zip")
        self.conditions = ImageStore(prepare / "test-conditions.zip") if degradation == "paired" else None
        self.masks = ImageStore(masks) if masks else None

    def __len__(self) -> int:
        return len(self.tests)

    def __getitem__(self, index: int) -> Degraded:
        how = Evaluation(
            mask=None if self.masks is None else self.masks.mask(index),
            strength=self.strength,
            condition=None if self.conditions is None else self.conditions[index],
        )
        return TASKS[self.degradation].evaluate(self.tests[index], generator(0, "evaluate", index), how)

    def close(self) -> None:
        for store in (self.tests, self.conditions, self.masks):
            if store is not None:
                store.close()
