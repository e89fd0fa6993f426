"""Requests that a machine cannot fulfill are refused before training begins, with the remedy."""

from pathlib import Path
from typing import Any

import pytest
import torch

from palette.errors import ConfigError
from palette.stages.train import TrainRuntime
from palette.training import machine
from palette.training.distributed import World
from palette.training.loop import train
from tests.tiny import pictures, train_spec

CPU, GPU = (World(0, 1, torch.device(kind)) for kind in ("cpu", "cuda"))


def test_refuses_a_batch_that_cannot_be_divided() -> None:
    with pytest.raises(ConfigError, match=r"`batch_size` 8 is not a multiple of 6 \(2 devices × 3 micro-batches"):
        machine.check(train_spec(accumulate=3), World(0, 2, torch.device("cpu")))


def test_refuses_bf16_without_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu_has_bf16", lambda: False)
    with pytest.raises(ConfigError, match="no bfloat16 instructions"):
        machine.check(train_spec(precision="bf16"), CPU)


def test_refuses_fp16_without_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`precision: fp16`, but there is no GPU here.*Use `precision: fp32`"):
        train(train_spec(precision="fp16"), pictures(20), tmp_path, CPU)
    machine.check(train_spec(precision="fp16"), GPU)


@pytest.mark.parametrize(
    ("world", "lacks"), [(CPU, "a C\\+\\+ compiler"), (GPU, "a C compiler and the package triton")]
)
def test_refuses_to_compile_without_a_compiler(world: World, lacks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = train_spec(runtime=TrainRuntime(compile=True))
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(machine, "find_spec", lambda name: object())
    machine.check(spec, world)
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=f"`compile: true` needs {lacks}, which this machine lacks"):
        machine.check(spec, world)


def test_refuses_tensorboard_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec: Any = train_spec(runtime=TrainRuntime(tensorboard=True))
    monkeypatch.setattr(machine, "find_spec", lambda name: None if name == "tensorboard" else object())
    with pytest.raises(ConfigError, match="pip install tensorboard"):
        train(spec, pictures(20), tmp_path, CPU)
    assert list(tmp_path.iterdir()) == []
