"""`python -m benchmarks.data`: speed at which one core decodes and degrades training images, against its training
speed.

Images are decoded each time, as from a store that does not fit into memory; a smaller store is decoded only once.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import skimage.data
from PIL import Image

from benchmarks.timing import parser, seconds, spread, write
from benchmarks.training import CPU, DEFAULT, TINY, Case, our_step, our_trainer
from palette.data.images.pictures import cut_square
from palette.data.store.store import ImageStore, StoredImage, image_name, write_store
from palette.data.tasks import TASKS
from palette.system import devices
from palette.system.randomness import generator
from palette.training.stream import Stream, batches, collate

IMAGES = 64
UNPAIRED = [task for task in TASKS if task != "paired"]
"""The tasks that degrade an image; `paired` reads a second one instead."""


def pictures(image_size: int) -> Iterator[StoredImage]:
    """Write crops of a photograph, because noise or flat color would decode at another speed."""
    photograph = Image.fromarray(skimage.data.astronaut())
    random = generator(0, "crops")
    for index in range(IMAGES):
        side = int(random.integers(300, 500))
        x, y = (int(random.integers(0, 512 - side)) for _ in range(2))
        yield StoredImage(image_name(index), cut_square(photograph, (x, y, x + side, y + side), image_size))


def stream(store: Path, task: str, case: Case) -> Stream:
    """Return the engine's stream of one task, without its cache of decoded images."""
    images = ImageStore(store)
    made = Stream(images, {task: 1.0}, 0, case.batch_size, case.image_size, flip=True)
    made.images = images
    return made


def loading_rates(store: Path, task: str, case: Case, repeats: int) -> list[float]:
    """Return loaded images per second of CPU time, one value per `IMAGES` images."""
    source = stream(store, task, case)

    def load() -> None:
        collate([source.example(position) for position in range(IMAGES)], source.levels(0))

    load()
    return [IMAGES / seconds(load, CPU) for _ in range(repeats)]


def training_rates(case: Case, repeats: int) -> list[float]:
    """Return trained images per second of CPU time."""
    step = our_step(case)
    step()
    return [case.batch_size / seconds(step, CPU) for _ in range(repeats)]


def share_of_waiting(store: Path, case: Case, steps: int) -> float:
    """Return the fraction of a training's time spent waiting for images from one thread, after the first step."""
    ours = our_trainer(case)
    source = stream(store, "inpainting", case)
    with batches(source, range(steps + 1), [range(case.batch_size)], 1) as prepared:
        ours.update(prepared)
        began, waited = time.monotonic(), ours.waited
        for _ in range(steps):
            ours.update(prepared)
        return (ours.waited - waited) / (time.monotonic() - began)


def main(arguments: list[str] | None = None) -> int:
    chosen = parser(__doc__).parse_args(arguments)
    devices.use(chosen.threads)
    cases = [Case(TINY, 16, 2)] if chosen.quick else [Case(DEFAULT, 64, 4), Case(DEFAULT, 256, 1)]
    repeats = 1 if chosen.quick else chosen.repeats
    found: dict[str, dict[str, object]] = {}
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder, "train.zip")
            write_store(store, pictures(case.image_size), ["astronaut"])
            training = training_rates(case, max(1, repeats // 5))
            found[f"{case.image_size} px"] = rates = {"training": training}
            print(f"{case.image_size} px: training {spread(training)['median']:.3g} images/s")
            for task in UNPAIRED:
                rates[task] = loading = loading_rates(store, task, case, repeats)
                ratio = spread(loading)["median"] / spread(training)["median"]
                print(f"  {task}: {spread(loading)['median']:.0f} images/s, {ratio:.0f} times the training", flush=True)
            if case is cases[0]:
                rates["share of waiting"] = share = share_of_waiting(store, case, 2 if chosen.quick else 10)
                print(f"  inpainting, during a training: {share:.2%} of its time is waiting for data", flush=True)
    settings = {"network": DEFAULT.model_dump(mode="json"), "images_per_sample": IMAGES}
    write(chosen.results, "data", CPU, settings, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
