"""The endless stream of training examples.

Example number p is a pure function of (seed, p, images, mix): which image, which task, how it is degraded, which noise.
Batch s holds the examples s·B to (s+1)·B - 1.

With one dataset, each epoch shows every image once. With several, each example draws its dataset by the proportions and
then an image of it, so that a small dataset is repeated as often as its share requires.

A resumed training therefore sees what an uninterrupted one would, and so does one on more devices, each with its slice.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from palette.config.tasks import Degradation
from palette.data.images.degraded import condition, in_units
from palette.data.store.store import ImageStore, PairStore
from palette.data.tasks import TASKS
from palette.diffusion.objective import Batch, stratified
from palette.errors import DataError
from palette.system.randomness import generator

if TYPE_CHECKING:
    from palette.stages.train import TrainSpec

PAIRED: Degradation = "paired"
"""The task that needs images with conditions."""
AHEAD = 2
"""Slices to prepare while the network is busy."""
RAM = 512 * 2**20
"""Bytes of decoded images to keep in memory; a larger store is decoded again in every epoch."""


class Images(Protocol):
    """`images[i]` → uint8 [H, W, 3], or [H, W, 6] with the image's condition last; a store or a similar object."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> npt.NDArray[np.uint8]: ...


class Example(NamedTuple):
    """A training example.
    x0, condition, noise: float32 [3, H, W]. mask: bool [1, H, W], True where the model must generate."""

    x0: npt.NDArray[np.float32]
    condition: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    noise: npt.NDArray[np.float32]


def stores_of(mix: Mapping[Degradation, float]) -> list[str]:
    """Return the files of a prepare stage that a training reads, the images first."""
    return ["train.zip", "train-conditions.zip"] if PAIRED in mix else ["train.zip"]


def open_images(train: Path, mix: Mapping[Degradation, float]) -> ImageStore:
    """Open the store `train.zip` of a prepare stage, with the conditions beside it if the mix has paired images."""
    return PairStore(train, train.with_name("train-conditions.zip")) if PAIRED in mix else ImageStore(train)


class Joined:
    """Concatenation of the images of several datasets. shares: of the examples, one for each dataset."""

    def __init__(self, parts: Sequence[Images], shares: Sequence[float]) -> None:
        self.parts, self.shares = parts, shares
        self.ends: list[int] = np.cumsum([len(part) for part in parts]).tolist()

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:
        part = bisect_right(self.ends, index)
        return self.parts[part][index - (self.ends[part - 1] if part else 0)]


class InMemory:
    """Images that are decoded only once, for stores whose pixels fit into `RAM`."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.decoded: list[npt.NDArray[np.uint8] | None] = [None] * len(images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:
        image = self.decoded[index]
        if image is None:
            image = self.decoded[index] = self.images[index]
        return image


@dataclass
class Stream:
    """The stream of examples of one training.

    images: the training images, with conditions if the mix has paired images; `Joined` for several datasets. mix: task
    → proportion. batch_size: B, over all devices. flip: mirror half of the images, and their conditions with them.
    """

    images: Images
    mix: Mapping[Degradation, float]
    seed: int
    batch_size: int
    image_size: int
    flip: bool

    def __post_init__(self) -> None:
        self.joined = self.images if isinstance(self.images, Joined) else None
        if not all(map(len, self.joined.parts if self.joined else [self.images])):
            raise DataError("train.zip holds no images. Prepare a data set with at least one training image.")
        self.part_thresholds = thresholds(self.joined.shares if self.joined else [1.0])
        self.channels = 6 if PAIRED in self.mix else 3
        if len(self.images) * self.image_size**2 * self.channels <= RAM:
            self.images = InMemory(self.images)
        self.tasks: list[Degradation] = sorted(self.mix)
        self.task_thresholds = thresholds([self.mix[task] for task in self.tasks])
        self.order = lru_cache(maxsize=2)(self._order)  # two: workers may be in consecutive epochs

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        return generator(self.seed, "order", epoch).permutation(len(self.images))

    def image_index(self, position: int) -> int:
        """Return the index of the image of example `position`."""
        if self.joined:
            random = generator(self.seed, "image", position)
            part = chosen(self.part_thresholds, random.random())
            return int(random.integers(self.joined.ends[part] - len(self.joined.parts[part]), self.joined.ends[part]))
        epoch, place = divmod(position, len(self.images))
        return int(self.order(epoch)[place])

    def task(self, draw: float) -> Degradation:
        """Return the task for a number in [0, 1), by the proportions of the mix."""
        return self.tasks[chosen(self.task_thresholds, draw)]

    def example(self, position: int) -> Example:
        """Return example number `position`."""
        random = generator(self.seed, "example", position)
        pixels = self.images[self.image_index(position)]
        if pixels.shape != (self.image_size, self.image_size, self.channels):
            raise DataError(
                f"train.zip: an image of shape {pixels.shape}, where {self.image_size} px squares should be."
            )
        task = self.task(random.random())
        if random.random() < 0.5 and self.flip:
            pixels = pixels[:, ::-1]
        image = np.ascontiguousarray(pixels[:, :, :3])
        degraded = TASKS[task].train(image, random, pixels[:, :, 3:] if self.channels == 6 else None)
        mask = np.ones(image.shape[:2], np.bool_) if degraded.mask is None else degraded.mask
        x0 = in_units(image)
        return Example(x0, condition(degraded, random), mask[None], random.standard_normal(x0.shape, dtype=np.float32))

    def levels(self, step: int) -> Tensor:
        """Return u of the examples of batch `step`, float64 [batch_size]."""
        return stratified(self.batch_size, generator(self.seed, "levels", step).random())


def thresholds(shares: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return the ends of the intervals into which the proportions divide [0, 1]."""
    return np.cumsum(np.array(shares, np.float64) / sum(shares))


def chosen(ends: npt.NDArray[np.float64], draw: float) -> int:
    """Return the index of the interval that contains a number in [0, 1)."""
    return min(int(np.searchsorted(ends, draw, side="right")), len(ends) - 1)


def collate(examples: Sequence[Example], u: Tensor) -> Batch:
    """Stack examples; u: float64 [B], their noise levels."""
    x0, condition, mask, noise = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*examples, strict=True))
    return Batch(x0, condition, mask, noise, u)


def moved(batch: Batch, device: torch.device) -> Batch:
    """Copy the batch to `device`, from pinned memory so that the copy does not block the host."""
    if device.type != "cuda":
        return batch
    return Batch(*(tensor.pin_memory().to(device, non_blocking=True) for tensor in batch))


def micro_batches(spec: "TrainSpec", devices: int) -> int:
    """Return the micro-batches per step and device: fewer devices than planned run more, none larger than planned."""
    return spec.accumulate * max(1, -(-spec.runtime.devices // devices))


def slices(batch_size: int, rank: int, world: int, accumulate: int) -> list[range]:
    """Return the positions in the batch that device `rank` of `world` processes, one range per micro-batch."""
    size = batch_size // (world * accumulate)
    first = rank * accumulate
    return [range(part * size, (part + 1) * size) for part in range(first, first + accumulate)]


@contextmanager
def batches(stream: Stream, steps: range, places: Sequence[range], workers: int) -> Iterator[Iterator[Batch]]:
    """Yield an iterator over the batches at `places` of each step, in order, prepared ahead by `workers` threads."""
    with ThreadPoolExecutor(workers, "stream") as pool:
        try:
            yield _ahead(stream, steps, places, pool)
        finally:
            pool.shutdown(cancel_futures=True)


def _ahead(stream: Stream, steps: range, places: Sequence[range], pool: ThreadPoolExecutor) -> Iterator[Batch]:
    """Yield batches from one future per example, so that tasks are short; `AHEAD` slices are always in progress."""
    waiting: deque[tuple[list[Future[Example]], Tensor]] = deque()
    for step in steps:
        levels = stream.levels(step)
        for place in places:
            positions = (step * stream.batch_size + i for i in place)
            waiting.append(([pool.submit(stream.example, p) for p in positions], levels[place.start : place.stop]))
            if len(waiting) > AHEAD:
                yield _finished(*waiting.popleft())
    while waiting:
        yield _finished(*waiting.popleft())


def _finished(examples: list[Future[Example]], u: Tensor) -> Batch:
    return collate([example.result() for example in examples], u)
