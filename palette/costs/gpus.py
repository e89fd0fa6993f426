"""Known GPUs with the peak rates in NVIDIA's data sheets: dense arithmetic, half of the numbers given with sparsity.

Sources: data sheets of HGX B200, H200, H100, A100, A40, L40S, L4, V100 and T4; for GeForce, the white papers of the Ada
and Ampere GA102 architectures, for float16 and bfloat16 products accumulated in float32. Checked in November 2026
against reprints: glennklockwood.com/garden/processors (B200, H100, H200), github.com/winston-zhang-orz/gpu-specs and
github.com/astroC86/gpu-datasheet (A100, A40, L40S, L4, V100, T4), hmc-tech.com/gpu (A40, V100, T4, RTX 3090 Ti),
waredb.com/processor (RTX 4090).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from palette.system.gpu_lease import nvidia_smi

UTILIZATION = 0.35
"""Assumed share of the peak when training the paper's network on a device without a benchmark."""
BENCHMARKS = Path(__file__).parents[2] / "benchmarks/results"


@dataclass(frozen=True)
class Gpu:
    """One kind of device."""

    name: str
    pattern: str
    """Part of the device name that the driver reports."""
    bf16: float
    """FLOP/s of matrix products in bfloat16."""
    tf32: float
    """FLOP/s in float32; with TF32, as in training, where the device has it."""
    memory: int
    """Bytes that programs can use, slightly less than the advertised size."""
    fp16: float | None = None
    """FLOP/s in float16; None if the same as in bfloat16."""

    def peak(self, precision: str) -> float:
        """Return the peak FLOP/s in `precision`: fp32, bf16 or fp16."""
        return {"fp32": self.tf32, "bf16": self.bf16, "fp16": self.fp16 or self.bf16}[precision]


TERA, GIB = 1e12, 2**30
GPUS: Mapping[str, Gpu] = {
    "b200": Gpu("B200", "B200", 2250 * TERA, 1125 * TERA, 178 * GIB),
    "h200": Gpu("H200 SXM", "H200", 989 * TERA, 494 * TERA, 140 * GIB),
    "h100": Gpu("H100 SXM", "H100", 989 * TERA, 494 * TERA, 79 * GIB),
    "a100": Gpu("A100 SXM 80 GB", "A100-SXM4-80GB", 312 * TERA, 156 * TERA, 79 * GIB),
    "a100-40": Gpu("A100 SXM 40 GB", "A100-SXM4-40GB", 312 * TERA, 156 * TERA, 39 * GIB),
    "a40": Gpu("A40", "A40", 149.7 * TERA, 74.8 * TERA, 44 * GIB),
    "l40s": Gpu("L40S", "L40S", 362 * TERA, 183 * TERA, 44 * GIB),
    "l4": Gpu("L4", "L4", 121 * TERA, 60 * TERA, 22 * GIB),
    "v100": Gpu("V100 SXM", "V100", 15.7 * TERA, 15.7 * TERA, 31 * GIB, fp16=125 * TERA),
    "t4": Gpu("T4", "T4", 8.1 * TERA, 8.1 * TERA, 14 * GIB, fp16=65 * TERA),
    "rtx-4090": Gpu("GeForce RTX 4090", "RTX 4090", 165.2 * TERA, 82.6 * TERA, 23 * GIB),
    "rtx-3090": Gpu("GeForce RTX 3090", "RTX 3090", 71 * TERA, 35.6 * TERA, 23 * GIB),
    # A core with AVX2 at 3 GHz: 16 lanes, a multiplication and an addition each.
    "cpu": Gpu("CPU core", "cpu", 0.1 * TERA, 0.1 * TERA, 4 * GIB),
}
"""Name on the command line → device."""


def same_device(gpu: Gpu, recorded: str) -> bool:
    """Return whether the `device` recorded in a card is of this kind."""
    return re.search(rf"\b{gpu.pattern}\b", recorded) is not None


def key_of(recorded: str) -> str | None:
    """Return the key in `GPUS` for a device name reported by the driver; None if the table lacks it."""
    return next((key for key, gpu in GPUS.items() if same_device(gpu, recorded)), None)


def here() -> str:
    """Return the key in `GPUS` for this machine's first GPU; `cpu` if there is none or the table lacks it."""
    names = nvidia_smi("name")
    return (key_of(names[0]) if names else None) or "cpu"


def utilization(key: str, benchmarks: Path = BENCHMARKS) -> tuple[float, str]:
    """Return the share of a device's peak that training reaches, and its source.

    The share is the median measured by `benchmarks.gpu` on the paper's network in bfloat16, or `UTILIZATION`.
    """
    gpu, shares = GPUS[key], []
    for file in sorted(benchmarks.glob("gpu-*.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        paper = record["results"].get("paper", {})
        if same_device(gpu, record["device"]) and "bf16" in paper:
            shares.append(paper["bf16"]["share"] * paper["matrix_flops_per_second"] / gpu.bf16)
    if shares:
        return median(shares), f"the benchmark of {gpu.name}, {median(shares):.0%} of its peak"
    return UTILIZATION, f"assumed, {UTILIZATION:.0%} of the peak of {gpu.name}"
