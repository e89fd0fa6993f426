"""Checks of what this machine can do, made before training begins."""

import os
import shutil
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
    check_batch(spec, world)
    check_precision(spec, world)
    if spec.runtime.compile:
        check_compiler(world)
    if spec.runtime.tensorboard and find_spec("tensorboard") is None:
        raise ConfigError(
            "train: `tensorboard: true`, but that package is not installed. `pip install tensorboard`, or leave the option "
            "out: log.jsonl has the same numbers."
        )


def check_batch(spec: "TrainSpec", world: World) -> None:
    """Raise ConfigError unless the global batch divides evenly among devices and micro-batches."""
    parts = world.size * micro_batches(spec, world.size)
    if spec.batch_size % parts:
        raise ConfigError(
            f"train: `batch_size` {spec.batch_size} is not a multiple of {parts} ({world.size} devices × "
            f"{micro_batches(spec, world.size)} micro-batches; planned: {spec.runtime.devices} devices × `accumulate` "
            f"{spec.accumulate}). Nothing is rounded silently: choose a multiple of {parts}, another `accumulate`, or take "
            "a number of devices that divides the planned one."
        )


def check_precision(spec: "TrainSpec", world: World) -> None:
    """Raise ConfigError unless the device has instructions for the requested precision."""
    on_cpu = world.device.type == "cpu"
    if spec.precision == "bf16" and not (
        cpu_has_bf16() if on_cpu else torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        raise ConfigError(
            "train: `precision: bf16`, but this device has no bfloat16 instructions; emulated, it is tens of times slower "
            "than fp32. Use `precision: fp32` here."
        )
    if spec.precision == "fp16" and on_cpu:
        raise ConfigError(
            "train: `precision: fp16`, but there is no GPU here, and on a processor float16 is slower than fp32. "
            "Use `precision: fp32` here."
        )


def check_compiler(world: World) -> None:
    """Raise ConfigError unless torch.compile has what it needs: a C++ compiler; for a GPU, Triton and a C compiler."""
    on_gpu = world.device.type == "cuda"
    names = [os.environ.get("CC"), "cc", "gcc", "clang"] if on_gpu else [os.environ.get("CXX"), "c++", "g++", "clang++"]
    missing = (
        [] if any(shutil.which(name) for name in names if name) else ["a C compiler" if on_gpu else "a C++ compiler"]
    )
    missing += ["the package triton"] if on_gpu and find_spec("triton") is None else []
    if missing:
        raise ConfigError(
            f"train: `compile: true` needs {' and '.join(missing)}, which this machine lacks. Install it, or use `compile: false`."
        )
