"""`python -m benchmarks.gpu`: training and denoising on one GPU, our bf16 against the unofficial code's fp32, and the
fraction of the GPU's peak that the paper's network reaches.

The reference runs with PyTorch's default settings (its convolutions may use TF32). The implementations are built,
warmed up and timed one at a time, alternately and repeatedly, since two do not fit into memory. If a batch does not
fit, half of it is tried, and so on.
"""

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.denoising import our_denoising, reference_denoising
from benchmarks.timing import Work, device_name, parser, seconds, spread, write
from benchmarks.training import DEFAULT, TINY, Case, our_step, reference_step, settings
from palette.config.models import Network
from palette.model import networks

PAPER = Network(
    channels=256, multipliers=(1, 1, 2, 2, 4, 4), blocks=2, attention=(32, 16, 8), head_channels=64, groups=32
)
"""552,814,083 parameters."""
TRAINING_TARGET, DENOISING_TARGET, SHARE_TARGET = 4.0, 4.0, 0.35


@dataclass
class Measured:
    """The speed of one implementation."""

    batch_size: int = 0
    rates: list[float] = field(default_factory=list)
    """Images per second."""
    peak_mib: float | None = None
    """Peak memory of the GPU at `batch_size`."""

    @property
    def rate(self) -> float:
        return spread(self.rates)["median"]

    def text(self) -> str:
        memory = "" if self.peak_mib is None else f", peak memory {self.peak_mib:.0f} MiB"
        return f"{self.rate:.4g} images/s with batch {self.batch_size}{memory}"


@dataclass(frozen=True)
class Plan:
    """Length of a measurement: `rounds` builds of each implementation, with `warmup` steps not counted and `steps` counted."""

    rounds: int
    warmup: int
    steps: int


Make = Callable[[Case], Work]


def freed(device: torch.device) -> None:
    """Free the memory of deleted tensors, so that the next implementation starts with an empty GPU."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def measure_once(make: Make, case: Case, plan: Plan) -> tuple[list[float], float | None]:
    """Return images per second of each step, and the peak memory in MiB. Raises torch.OutOfMemoryError."""
    work = make(case)
    for _ in range(plan.warmup):
        work()
    rates = [case.batch_size / seconds(work, case.device) for _ in range(plan.steps)]
    cuda = case.device.type == "cuda"
    return rates, torch.cuda.max_memory_allocated(case.device) / 2**20 if cuda else None


def measure(make: Make, case: Case, plan: Plan) -> tuple[int, list[float], float | None]:
    """Measure with the largest batch that fits: `case.batch_size`, a half of it, a quarter, …"""
    batch_size = case.batch_size
    while batch_size:
        freed(case.device)
        try:
            return batch_size, *measure_once(make, replace(case, batch_size=batch_size), plan)
        except torch.OutOfMemoryError:
            batch_size //= 2
    raise SystemExit(f"not even one image of {case.image_size} px fits into the memory of {device_name(case.device)}")


def in_turn(ways: dict[str, Make], case: Case, plan: Plan) -> dict[str, Measured]:
    """Measure all implementations, round by round; a batch that did not fit once is not tried again."""
    found = {name: Measured(case.batch_size) for name in ways}
    for _ in range(plan.rounds):
        for name, make in ways.items():
            so_far = found[name]
            so_far.batch_size, rates, so_far.peak_mib = measure(make, replace(case, batch_size=so_far.batch_size), plan)
            so_far.rates += rates
    freed(case.device)
    return found


def matrix_rate(size: int, device: torch.device, repeats: int = 20) -> float:
    """Return FLOP/s of a bf16 matrix product: the best that the GPU really achieves."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = min(seconds(lambda: a @ b, device) for _ in range(repeats))
    return float(2 * size**3 / best)


def training_flops(network: Network, image_size: int) -> float:
    """Return the FLOPs of forward and backward pass of one image, without computing them."""
    with torch.device("meta"):
        built = networks.build(network, image_size)
        x, log_snr = torch.zeros(1, 6, image_size, image_size), torch.zeros(1)
    with FlopCounterMode(display=False) as counter:
        built(x, log_snr).sum().backward()
    return float(counter.get_total_flops())


def report(title: str, found: dict[str, Measured], target: float) -> dict[str, Any]:
    """Print each implementation and its ratio to the first one; return the facts."""
    print(f"{title} (target: {target:g}x)")
    base = next(iter(found.values()))
    facts: dict[str, Any] = {}
    for name, measured in found.items():
        ratio = measured.rate / base.rate
        print(f"  {name}: {measured.text()}, {ratio:.2f}x", flush=True)
        facts[name] = {**vars(measured), "ratio": ratio}
    return facts


def main(arguments: list[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--device", default="cuda", help="`cpu` only with --quick (default: %(default)s)")
    options.add_argument("--image-size", type=int, default=256, help="side in pixels (default: %(default)s)")
    options.add_argument("--batch-size", type=int, default=32, help="images per step (default: %(default)s)")
    chosen = options.parse_args(arguments)
    device = torch.device(chosen.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("benchmarks.gpu: no GPU here, nothing measured. Run it on a machine with an NVIDIA GPU.", file=sys.stderr)
        return 2
    if device.type == "cpu" and not chosen.quick:
        print("benchmarks.gpu: `--device cpu` goes with --quick, which measures nothing.", file=sys.stderr)
        return 2
    case, paper = Case(DEFAULT, chosen.image_size, chosen.batch_size, device), PAPER
    plan = Plan(rounds=3, warmup=3, steps=chosen.repeats)
    if chosen.quick:
        case, paper, plan = Case(TINY, 16, 2, device), TINY, Plan(rounds=1, warmup=1, steps=1)
    found = benchmark(case, paper, plan, compiled=not chosen.quick)
    used = {**settings(case), "paper": paper.model_dump(mode="json"), **vars(plan)}
    write(chosen.results, "gpu", device, used, found)
    return 0


def benchmark(case: Case, paper: Network, plan: Plan, compiled: bool) -> dict[str, Any]:
    """Measure training, the paper's network and denoising. compiled: also with torch.compile."""
    training: dict[str, Make] = {"reference, fp32": reference_step, "ours, bf16": lambda c: our_step(c, "bf16")}
    largest: dict[str, Make] = {"bf16": lambda c: our_step(c, "bf16")}
    if compiled:
        training["ours, bf16, compiled"] = largest["bf16, compiled"] = lambda c: our_step(c, "bf16", compiled=True)
    found: dict[str, Any] = {"training": report("training step", in_turn(training, case, plan), TRAINING_TARGET)}

    rate = matrix_rate(8192 if compiled else 64, case.device)
    flops = training_flops(paper, case.image_size)
    print(f"the paper's network, {flops / 1e12:.3g} TFLOP per image; bf16 matrices: {rate / 1e12:.4g} TFLOP/s")
    found["paper"] = {"flops_per_image": flops, "matrix_flops_per_second": rate}
    for name, measured in in_turn(largest, replace(case, network=paper), plan).items():
        share = measured.rate * flops / rate
        print(f"  {name}: {measured.text()}, {share:.1%} of that rate (target: {SHARE_TARGET:.0%})", flush=True)
        found["paper"][name] = {**vars(measured), "share": share}

    denoising: dict[str, Make] = {
        "reference, fp32": reference_denoising,
        "ours, bf16": lambda c: our_denoising(c, "bf16"),
    }
    found["denoising"] = report("denoising step", in_turn(denoising, case, plan), DENOISING_TARGET)
    return found


if __name__ == "__main__":
    sys.exit(main())
