"""`python -m benchmarks.prepare`: a store of 256 pixels from JPEGs of 500 pixels, by `palette prepare` on two cores and
by plain loops.

The plain loops open, crop, resize and save into a ZIP with Pillow, in one process: with default compression, and
without compression, as NVIDIA's dataset tool does. Ours also verifies SHA-256, converts color, hashes the appearance
and survives a kill.
"""

import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from PIL import Image

from benchmarks.timing import parser, spread, write
from palette.config.datasets import Fetch, Squares
from palette.stages import fetch, prepare
from palette.stages.fetch import FetchSpec
from palette.stages.prepare import PrepareRuntime, PrepareSpec
from palette.stages.stage import Stage

SIZE = 256


def make_jpegs(folder: Path, count: int) -> None:
    """Write crops of photographs, 500 × 375 or 375 × 500, of quality 92: about 50 kB each."""
    photographs = [
        Image.fromarray(photo()) for photo in (skimage.data.astronaut, skimage.data.coffee, skimage.data.rocket)
    ]
    folder.mkdir()
    for index in range(count):
        random, photograph = np.random.default_rng(index), photographs[index % 3]
        width, height = (375, 500) if index % 3 == 2 else (500, 375)
        scale = min(photograph.width / width, photograph.height / height) * random.uniform(0.7, 1)
        w, h = int(width * scale), int(height * scale)
        x, y = int(random.integers(0, photograph.width - w + 1)), int(random.integers(0, photograph.height - h + 1))
        made = photograph.crop((x, y, x + w, y + h)).resize((width, height), Image.Resampling.BICUBIC)
        made.save(folder / f"{index:06}.jpg", quality=92)


def plain(folder: Path, store: Path, **compression: Any) -> None:
    """Make the store with a naive loop."""
    with zipfile.ZipFile(store, "w") as archive:
        for path in sorted(folder.iterdir()):
            image = Image.open(path).convert("RGB")
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
            with archive.open(f"{path.stem}.png", "w") as file:
                image.save(file, "PNG", **compression)


def stage(results: Path, pictures: Path, threads: int) -> Stage[PrepareSpec]:
    """Return a prepare stage whose fetch stage has run; two images are test images, all others training images."""
    fetched = Stage(FetchSpec(name="jpegs", fetch=Fetch(source="folder", path=pictures)), results)
    if not fetched.path("manifest.jsonl").exists():
        fetch.run(fetched)
    options = Squares(image_size=SIZE, train_images=None, test_images=2)
    runtime, parents = PrepareRuntime(threads=threads), {"fetch": fetched.spec.folder}
    return Stage(PrepareSpec(name="jpegs", prepare=options, runtime=runtime, parents=parents), results)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds of this process."""
    began, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - used


def ways(folder: Path, threads: int) -> dict[str, Callable[[], object]]:
    pictures, ours = folder / "pictures", stage(folder, folder / "pictures", threads)
    return {
        "ours": lambda: prepare.run(ours),
        "plain": lambda: plain(pictures, folder / "plain.zip"),
        "plain, uncompressed": lambda: plain(pictures, folder / "uncompressed.zip", compress_level=0),
    }


def bytes_of(folder: Path, images: int) -> Iterator[tuple[str, float]]:
    """Return the bytes per image of each store."""
    stores = [path for path in folder.rglob("*.zip") if path.parent.name != ".parts" and "conditions" not in path.name]
    for path in stores:
        yield path.name, round(path.stat().st_size / (2 if path.name == "test.zip" else images), 1)


def main(arguments: list[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=240)
    options.set_defaults(threads=2)
    chosen = options.parse_args(arguments)
    images, repeats = (12, 1) if chosen.quick else (chosen.images, chosen.repeats)
    folder = Path(tempfile.mkdtemp(prefix="prepare-"))
    try:
        make_jpegs(folder / "pictures", images)
        found: dict[str, Any] = {name: {"wall": [], "cpu": []} for name in ways(folder, chosen.threads)}
        for repeat in range(repeats + 1):
            for name, work in ways(folder, chosen.threads).items():
                wall, cpu = timed(work)
                if repeat:  # the first round warms up
                    found[name]["wall"].append(wall / images)
                    found[name]["cpu"].append(cpu / images)
        found["bytes per image"] = dict(bytes_of(folder, images))
    finally:
        shutil.rmtree(folder)
    for name in ("plain", "plain, uncompressed"):
        for clock in ("wall", "cpu"):
            ratios = [theirs / ours for theirs, ours in zip(found[name][clock], found["ours"][clock], strict=True)]
            found[name][f"{clock} ratio"] = spread(ratios)
            print(f"{name}: {spread(ratios)['median']:.2f} times our {clock} time", flush=True)
    for name in ("ours", "plain", "plain, uncompressed"):
        wall, cpu = (spread(found[name][clock])["median"] for clock in ("wall", "cpu"))
        print(f"{name}: {1 / wall:.0f} images/s, {1000 * cpu:.2f} ms of CPU time per image", flush=True)
    print(f"bytes per image: {found['bytes per image']}")
    settings = {"images": images, "threads": chosen.threads, "cores": os.cpu_count(), "size": SIZE}
    write(chosen.results, "prepare", torch.device("cpu"), settings, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
