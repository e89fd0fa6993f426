"""`python -m benchmarks.fetching`: speed of `fetch` when it checks images, against a plain loop with Pillow, and its
memory.

Both read, hash and decode the same JPEGs of 500 pixels, the loop in one thread, `fetch` in two. The comparison is in
wall time, since threads run simultaneously; CPU time per image is what plans use. Memory is measured for listing and
checking a tar with growing numbers of tiny images.
"""

import hashlib
import io
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image

from benchmarks.timing import Comparison, parser, peak_memory, spread, write
from palette.data.sources.checking import checked
from palette.data.sources.manifest import Entry, Opener, write_manifest
from palette.data.sources.members import members
from palette.data.sources.walk import walk

THREADS = 2


def jpegs(folder: Path, count: int) -> None:
    """Write crops of a photograph, because noise or flat color would decode at another speed."""
    photograph = Image.fromarray(skimage.data.astronaut())
    for number in range(count):
        photograph.crop((number % 12, 0, 500 + number % 12, 375)).save(folder / f"{number:05}.jpg", quality=90)


def plain_loop(folder: Path) -> None:
    """Check images with a naive loop."""
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        hashlib.sha256(data).hexdigest()
        with Image.open(io.BytesIO(data)) as image:
            image.convert("RGB")


def ours(folder: Path, manifest: Path) -> None:
    """Check images as a fetch stage does, up to the manifest on disk."""
    entries = ({"file": file, "class": "x"} for file in walk(folder))
    write_manifest(
        manifest, {"source": "folder", "containers": [str(folder)]}, checked(Opener([folder]), entries, THREADS)
    )


def timed(work: object, *arguments: Path) -> tuple[float, float]:
    """Return wall and CPU seconds of this process."""
    began, used = time.perf_counter(), time.process_time()
    work(*arguments)  # type: ignore[operator]
    return time.perf_counter() - began, time.process_time() - used


def tiny_tar(path: Path, count: int) -> None:
    """Write a tar of images of 8 × 8 pixels."""
    pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    with tarfile.open(path, "w") as archive:
        for number in range(count):
            data = io.BytesIO()
            Image.fromarray(pixels + np.uint8(number % 256)).save(data, "PNG")
            info = tarfile.TarInfo(f"{number % 100:02}/{number:07}.png")
            info.size = data.tell()
            data.seek(0)
            archive.addfile(info, data)
            archive.members.clear()  # type: ignore[attr-defined]


class listing:  # noqa: N801, a function that can be passed to another process
    """Check a tar, up to the manifest on disk."""

    def __init__(self, tar: Path) -> None:
        self.tar = tar

    def __call__(self) -> None:
        header = {"source": "archive", "containers": [str(self.tar)]}
        write_manifest(self.tar.with_suffix(".jsonl"), header, checked(Opener([self.tar]), self._entries(), THREADS))

    def _entries(self) -> Iterator[Entry]:
        return ({**entry, "class": entry["file"][:2]} for entry in members(self.tar))


def main(arguments: list[str] | None = None) -> int:
    chosen = parser(__doc__).parse_args(arguments)
    pictures, numbers = (8, [50]) if chosen.quick else (400, [1_000, 10_000, 100_000])
    found = Comparison()
    cpu: dict[str, list[float]] = {"reference": [], "ours": []}
    memory: dict[str, float | None] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "jpegs")
        folder.mkdir()
        jpegs(folder, pictures)
        for _ in range(1 if chosen.quick else chosen.repeats):
            plain, checking = timed(plain_loop, folder), timed(ours, folder, Path(name, "manifest.jsonl"))
            found.reference.append(plain[0])
            found.ours.append(checking[0])
            cpu["reference"].append(1000 * plain[1] / pictures)
            cpu["ours"].append(1000 * checking[1] / pictures)
        print(found.line(f"checking {pictures} JPEGs"), flush=True)
        for way, milliseconds in cpu.items():
            print(f"{way}: {spread(milliseconds)['median']:.2f} ms of CPU time per image", flush=True)
        for number in numbers:
            tar = Path(name, f"{number}.tar")
            tiny_tar(tar, number)
            memory[f"{number} pictures"] = most = peak_memory(listing, tar)
            print(f"{number} images: {most or 0:.1f} MiB", flush=True)
    settings = {"threads": THREADS, "pictures": pictures}
    results = {"checking": found.facts(), "cpu_ms": cpu, "peak_mib": memory}
    write(chosen.results, "fetching", torch.device("cpu"), settings, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
