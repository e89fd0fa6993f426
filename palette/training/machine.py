"""Checks of what this machine can do, made before training begins."""

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from palette.errors import ConfigError
from palette.training.distributed import World
from palette.training.stream import micro_batches

if TYPE_CHECKING:
    from palette.stages.train import TrainSpec


def cpu_has_bf16() -> bool:
    """Return whether the processor has bfloat16 instructions; False where the system does not say."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def check(spec: "TrainSpec", world: World) -> None:
    """Raise ConfigError if this machine cannot run the training as configured."""
    for problem in problems(spec, world):
        raise ConfigError(f"train: {problem}")


def problems(spec: "TrainSpec", world: World) -> Iterator[str]:
    """Yield why this machine cannot run the training, and what to do."""
    on_cpu, micro = world.device.type == "cpu", micro_batches(spec, world.size)
    if spec.batch_size % (world.size * micro):
        yield (
            f"`batch_size` {spec.batch_size} is not a multiple of {world.size * micro} ({world.size} devices × {micro} "
            f"micro-batches; planned: {spec.runtime.devices} devices × `accumulate` {spec.accumulate}). Nothing is rounded "
            f"silently: choose a multiple of {world.size * micro}, another `accumulate`, or take a number of devices that "
            "divides the planned one."
        )
    if spec.precision == "bf16" and not (
        cpu_has_bf16() if on_cpu else torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        yield (
            "`precision: bf16`, but this device has no bfloat16 instructions; emulated, it is tens of times slower than "
            "fp32. Use `precision: fp32` here."
        )
    if spec.precision == "fp16" and on_cpu:
        yield (
            "`precision: fp16`, but there is no GPU here, and on a processor float16 is slower than fp32. "
            "Use `precision: fp32` here."
        )
    if spec.runtime.compile and (missing := missing_compiler(on_cpu)):
        yield (
            f"`compile: true` needs {' and '.join(missing)}, which this machine lacks. Install it, or use `compile: false`."
        )
    if spec.runtime.tensorboard and find_spec("tensorboard") is None:
        yield (
            "`tensorboard: true`, but that package is not installed. `pip install tensorboard`, or leave the option out: "
            "log.jsonl has the same numbers."
        )


def missing_compiler(on_cpu: bool) -> list[str]:
    """Return what torch.compile lacks: of a C++ compiler, or for a GPU of a C compiler and Triton."""
    names = [os.environ.get("CXX"), "c++", "g++", "clang++"] if on_cpu else [os.environ.get("CC"), "cc", "gcc", "clang"]
    missing = []
    if not any(shutil.which(name) for name in names if name):
        missing.append("a C++ compiler" if on_cpu else "a C compiler")
    if not on_cpu and find_spec("triton") is None:
        missing.append("the package triton")
    return missing
