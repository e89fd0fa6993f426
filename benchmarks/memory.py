"""`python -m benchmarks.memory`: keeping freed memory (`palette.system.devices`) against glibc's default of returning
it.

Measures training and denoising of the unofficial code's default network and of the default run's. The glibc setting
cannot be undone in a process, so each variant has its own; they alternate.
"""

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
import yaml

from benchmarks.timing import Comparison, Work, parser, resident, seconds, write
from benchmarks.training import CPU, DEFAULT, TINY, Case, examples, our_step
from palette.config.models import Network
from palette.model import networks
from palette.system import devices

CONFIG = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text(encoding="utf-8"))
SMALL = Network.model_validate(CONFIG["models"]["palette"]["network"])
"""Settings of the default run."""
WARM = 4
"""Runs until the heap has its final size."""


def our_denoising(case: Case) -> Work:
    """Return one evaluation of the network."""
    network, batch = networks.build(case.network, case.image_size).eval(), examples(case)
    x, log_snr = torch.cat([batch.condition, batch.noise], dim=1), torch.zeros(case.batch_size)

    @torch.inference_mode()
    def evaluate() -> None:
        network(x, log_snr)

    return evaluate


Make = Callable[[Case], Work]
CASES: dict[str, tuple[Make, Case]] = {
    "training, 64 px, batch 4": (our_step, Case(DEFAULT, 64, 4)),
    "training, default run": (our_step, Case(SMALL, 32, 8)),
    "denoising, 256 px": (our_denoising, Case(DEFAULT, 256, 1)),
    "denoising, default run, batch 32": (our_denoising, Case(SMALL, 32, 32)),
}
QUICK: dict[str, tuple[Make, Case]] = {"training": (our_step, Case(TINY, 16, 2))}

_work: Work
"""Of this process."""


def _begin(kept: bool, threads: int, make: Make, case: Case) -> None:
    global _work
    torch.set_num_threads(threads)
    if kept:
        devices.keep_memory()
    _work = make(case)


def _time() -> float:
    return seconds(_work, CPU)


def compare(make: Make, case: Case, repeats: int, threads: int) -> Comparison:
    """Compare the default and kept memory alternately. Their memory is the peak of the whole process."""
    spawn = get_context("spawn")
    with (
        ProcessPoolExecutor(1, spawn, _begin, (False, threads, make, case)) as usual,
        ProcessPoolExecutor(1, spawn, _begin, (True, threads, make, case)) as kept,
    ):
        pairs = [(usual.submit(_time).result(), kept.submit(_time).result()) for _ in range(WARM + repeats)]
        peaks = [process.submit(resident, "VmHWM").result() for process in (usual, kept)]
    return Comparison([pair[0] for pair in pairs[WARM:]], [pair[1] for pair in pairs[WARM:]], *peaks)


def main(arguments: list[str] | None = None) -> int:
    chosen = parser(__doc__).parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    found = {}
    for name, (make, case) in (QUICK if chosen.quick else CASES).items():
        comparison = compare(make, case, 2 if chosen.quick else chosen.repeats, chosen.threads)
        print(comparison.line(name), flush=True)
        found[name] = comparison.facts()
    write(chosen.results, "memory", CPU, {"warm": WARM}, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
