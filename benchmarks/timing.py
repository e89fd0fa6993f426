"""Alternating timing of two implementations: reference, ours, reference, ours, … in one process, so that a drift in the
machine's speed affects both. On a CPU with one thread, the CPU time of the process is measured, which other processes
do not affect; with several threads, and on a GPU, wall time."""

import argparse
import json
import platform
import re
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from palette.system import devices

Work = Callable[[], object]

RESULTS = Path(__file__).parent / "results"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks share."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    options.add_argument("--quick", action="store_true", help="tiny sizes: checks that it runs, measures nothing")
    options.add_argument("--repeats", type=int, default=10, help="runs of each implementation (default: %(default)s)")
    options.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON (default: %(default)s)")
    options.add_argument(
        "--threads", type=int, default=1, help="CPU cores; with one, CPU time is measured (default: %(default)s)"
    )
    return options


def processor_name() -> str:
    """Return the system's name of the CPU, such as `AMD EPYC`."""
    cpuinfo = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return name[1].strip() if name else platform.processor() or platform.machine()


def device_name(device: torch.device) -> str:
    """Return the device, such as `NVIDIA H100 80GB HBM3`, or the processor with its vector instructions."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{processor_name()} {torch.backends.cpu.get_cpu_capability()}, {threads} thread{'s' if threads > 1 else ''}"


def seconds(work: Work, device: torch.device) -> float:
    """Return the CPU time of this process for `work`; with several threads or on a GPU, its wall time."""
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    wait = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    wait()
    began = clock()
    work()
    wait()
    return clock() - began


def spread(samples: list[float]) -> dict[str, float]:
    return {"median": statistics.median(samples), "smallest": min(samples), "largest": max(samples)}


@dataclass
class Comparison:
    """Seconds of each run. Ratios compare neighboring runs: above 1, ours is faster."""

    reference: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    reference_mib: float | None = None
    ours_mib: float | None = None
    """Peak memory of each, measured separately."""

    @property
    def ratios(self) -> list[float]:
        return [reference / ours for reference, ours in zip(self.reference, self.ours, strict=True)]

    def facts(self) -> dict[str, Any]:
        return {
            "ratio": spread(self.ratios),
            "reference_seconds": self.reference,
            "ours_seconds": self.ours,
            "reference_peak_mib": self.reference_mib,
            "ours_peak_mib": self.ours_mib,
        }

    def line(self, name: str) -> str:
        """Return a line: `training step: 1.15x [1.10 to 1.19, 10 pairs], 5.10 s for 5.86 s, 1100 MiB for 1300 MiB`."""
        ratio = spread(self.ratios)
        text = f"{name}: {ratio['median']:.2f}x [{ratio['smallest']:.2f} to {ratio['largest']:.2f}, {len(self.ours)} pairs]"
        text += f", {statistics.median(self.ours):.3g} s for {statistics.median(self.reference):.3g} s"
        if self.ours_mib is not None and self.reference_mib is not None:
            text += f", peak memory {self.ours_mib:.0f} MiB for {self.reference_mib:.0f} MiB"
        return text


def compare(reference: Work, ours: Work, repeats: int, device: torch.device, warm: bool = False) -> Comparison:
    """Run both alternately: once to warm up unless they are `warm`, then `repeats` times to measure."""
    found = Comparison()
    for repeat in range(warm, repeats + 1):
        pair = seconds(reference, device), seconds(ours, device)
        if repeat:
            found.reference.append(pair[0])
            found.ours.append(pair[1])
    return found


# -------------------------------------------------------------------------------------------------- memory


def resident(key: str) -> float | None:
    """Return the MiB of this process: `VmRSS` now, `VmHWM` at its peak. None on systems other than Linux."""
    status = Path("/proc/self/status")
    found = re.search(rf"{key}:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else None


def _peak(make: Callable[..., Work], arguments: tuple[Any, ...]) -> float | None:
    devices.use(1)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # triggers the imports that all optimizers share
    before = resident("VmRSS")
    work = make(*arguments)
    work()
    work()
    highest = resident("VmHWM")
    return None if before is None or highest is None else highest - before


def peak_memory(make: Callable[..., Work], *arguments: Any) -> float | None:
    """Return the peak MiB of two runs of `make(*arguments)` in a new process, including weights, without libraries."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_peak, make, arguments).result()


# -------------------------------------------------------------------------------------------------- result


def write(folder: Path, name: str, device: torch.device, settings: dict[str, Any], found: dict[str, Any]) -> Path:
    """Write `<name>-<date>-<device>.json` with device, versions, settings and all samples; return its path."""
    day, where = date.today().isoformat(), device_name(device)
    content = {"benchmark": name, "date": day, "device": where, "torch": torch.__version__}
    slug = re.sub(r"[^a-z0-9]+", "-", where.lower()).strip("-")
    path = folder / f"{name}-{day}-{slug}.json"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**content, "settings": settings, "results": found}, indent=1)
    path.write_text(re.sub(r"\n {3,}(?=[-\d])|(?<=\d)\n *(?=\])", " ", text) + "\n", encoding="utf-8")
    print(f"→ {path}")
    return path
