"""`python -m benchmarks.soak`: many small images through fetch, prepare and mask, with the process killed at random
moments.

Afterwards nothing may be lost or duplicated, and every file must have the bytes of an undisturbed run. With
`--kills 0`, only measures the time and memory of each stage.
"""

import hashlib
import json
import math
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.timing import parser, write
from palette.config.datasets import Fetch, Squares
from palette.data.store.store import ImageStore
from palette.stages.base import Runtime, Spec
from palette.stages.fetch import FetchSpec
from palette.stages.mask import MaskSpec
from palette.stages.prepare import PrepareSpec

SIDE = 16
FILES = {
    "fetch": ("manifest.jsonl",),
    "prepare": ("train.zip", "test.zip", "prepare.json"),
    "mask": ("masks.zip", "masks.json", "masks.png"),
}


@dataclass
class Run:
    """Cost of a stage: seconds of CPU time and of work after its imports, peak MiB, and the number of kills."""

    cpu_seconds: float = 0.0
    work_seconds: float = 0.0
    peak_mib: float = 0.0
    kills: int = 0


def make_pictures(folder: Path, count: int) -> None:
    """Write different small PNGs, a thousand per folder, which is their class."""
    for index in range(count):
        parent = folder / f"{index // 1000:04}"
        parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(parent / f"{index:07}.png", compress_level=1)


def specs(folder: Path, count: int, threads: int) -> list[Spec]:
    tests, runtime = max(2, count // 100), Runtime(threads=threads)
    fetch = FetchSpec(name="soak", fetch=Fetch(source="folder", path=folder), runtime=runtime)
    prepare = PrepareSpec(
        name="soak",
        parents={"fetch": fetch.folder},
        prepare=Squares(image_size=SIDE, train_images=None, test_images=tests),
        runtime={"threads": threads},  # type: ignore[arg-type]
    )
    return [fetch, prepare, MaskSpec(name="soak", mask="free-form-20-30", image_size=SIDE, count=tests)]


def start(spec: Spec, results: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "palette", spec.verb, "-c", str(spec.write(results))]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def works(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Return True if a process has begun to write into its stage's folder; before that, it reads its spec."""
    try:
        opened = [str(file.readlink()) for file in Path(f"/proc/{process.pid}/fd").iterdir()]
    except OSError:  # closed meanwhile
        return False
    return any(name.startswith(f"{folder}/") and not name.endswith("/spec.yaml") for name in opened)


def watch(process: subprocess.Popen[bytes], found: Run, folder: Path, seconds: float = math.inf) -> int | None:
    """Wait for a process, for at most `seconds` of its work, and record its cost.

    Returns its exit status; None if it is still running.
    """
    began, before = math.inf, children()
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None and time.monotonic() - began < seconds:
        if began == math.inf and works(process, folder):
            began = time.monotonic()
        peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
        found.peak_mib = max(found.peak_mib, round(int(peak[1]) / 1024, 1) if peak else 0.0)
        time.sleep(0.01)
    found.work_seconds = round(found.work_seconds + max(0.0, time.monotonic() - began), 2)
    found.cpu_seconds = round(found.cpu_seconds + children() - before, 2)
    return process.returncode


def children() -> float:
    """Return the CPU time of the processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def undisturbed(spec: Spec, results: Path) -> tuple[Run, float]:
    found, began = Run(), time.monotonic()
    if watch(start(spec, results), found, results / spec.folder):
        raise SystemExit(f"{spec.kind} failed")
    return found, time.monotonic() - began


TRIES = 8
"""Number of attempts at a kill: each comes after half of the time of the last."""


def disturbed(spec: Spec, results: Path, moments: list[float]) -> Run:
    """Run a stage, kill it after each of `moments` seconds of work, then run it to its end."""
    found = Run()
    for moment in moments:
        if not any(killed(spec, results, moment / 2**number, found) for number in range(TRIES)):
            raise SystemExit(f"{spec.kind} ended before it could be killed, {TRIES} times")
    if watch(start(spec, results), found, results / spec.folder):
        raise SystemExit(f"{spec.kind} failed")
    return found


def killed(spec: Spec, results: Path, moment: float, found: Run) -> bool:
    """Run a stage and kill it after `moment` seconds of work. Return False if it ended before."""
    process, before = start(spec, results), children()
    if watch(process, found, results / spec.folder, moment) is not None:
        return False
    process.kill()
    dead = process.wait() == -signal.SIGKILL
    found.cpu_seconds = round(found.cpu_seconds + children() - before, 2)
    found.kills += dead
    return dead


def digests(spec: Spec, results: Path) -> dict[str, str]:
    paths = (results / spec.folder / name for name in FILES[spec.kind])
    return {f"{spec.kind}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def faults(prepare: Spec, results: Path, count: int) -> list[str]:
    """Return which images are lost or duplicated in the stores, and which files are left behind."""
    files: Counter[str] = Counter()
    for split in ("train", "test"):
        with ImageStore(results / prepare.folder / f"{split}.zip") as store:
            files.update(entry["file"] for entry in store.manifest)
            for index in random.Random(0).sample(range(len(store)), min(200, len(store))):
                original = np.asarray(Image.open(results.parent / "pictures" / store.manifest[index]["file"]))
                if not np.array_equal(store[index], original):
                    files[f"pixels of {split} {index}"] = 2
    expected = {f"{index // 1000:04}/{index:07}.png" for index in range(count)}
    found = [f"lost: {name}" for name in expected - set(files)] + [
        f"twice: {n}" for n, times in files.items() if times > 1
    ]
    hidden = (path for path in (results / prepare.folder).glob(".*") if path.name != ".parts.lock")
    return found + [f"left behind: {path}" for path in hidden]


def soak(folder: Path, chosen: Namespace) -> dict[str, Any]:
    make_pictures(folder / "pictures", chosen.images)
    stages = specs(folder / "pictures", chosen.images, chosen.threads)
    calm, wild, generator = folder / "calm", folder / "wild", random.Random(chosen.seed)
    found: dict[str, Any] = {}
    moments: dict[str, list[float]] = {spec.kind: [] for spec in stages}
    for spec in stages:
        run, took = undisturbed(spec, calm)
        found[spec.kind] = {"undisturbed": asdict(run), "wall_seconds": round(took, 1)}
        print(f"{spec.kind}: {took:.1f} s, {run.cpu_seconds:.1f} s of CPU time, {run.peak_mib:.0f} MiB", flush=True)
    for number in range(chosen.kills):  # most kills where most can go wrong
        kind = ("prepare", "fetch", "prepare", "mask", "prepare")[number % 5]
        moments[kind].append(generator.random() * found[kind]["undisturbed"]["work_seconds"])
    # `prepare` resumes, so its kills share the time of one run.
    moments["prepare"] = [moment / (len(moments["prepare"]) + 1) for moment in moments["prepare"]]
    if chosen.kills:
        for spec in stages:
            found[spec.kind]["killed"] = asdict(disturbed(spec, wild, moments[spec.kind]))
            print(f"{spec.kind}, killed: {found[spec.kind]['killed']}", flush=True)
        pairs = [(digests(spec, calm), digests(spec, wild)) for spec in stages]
        found["differing files"] = [name for one, other in pairs for name in one if one[name] != other[name]]
        found["faults"] = faults(stages[1], wild, chosen.images)
        print(f"files that differ: {found['differing files']}, faults: {found['faults']}", flush=True)
    return found


def main(arguments: list[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=100_000)
    options.add_argument("--kills", type=int, default=10)
    options.add_argument("--seed", type=int, default=0, help="seed of the moments of the kills")
    options.set_defaults(threads=2)
    options.add_argument("--folder", type=Path, default=None, help="folder for temporary files (default: the system's)")
    chosen = options.parse_args(arguments)
    if chosen.quick:
        chosen.images, chosen.kills = 600, 3
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=chosen.folder)).resolve()
    try:
        found = soak(folder, chosen)
    finally:
        shutil.rmtree(folder)
    settings = {name: getattr(chosen, name) for name in ("images", "kills", "seed", "threads")}
    write(chosen.results, f"soak-{chosen.images}", torch.device("cpu"), settings, json.loads(json.dumps(found)))
    return 1 if found.get("differing files") or found.get("faults") else 0


if __name__ == "__main__":
    sys.exit(main())
