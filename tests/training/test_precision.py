"""fp16 with a scaled loss, bf16, compiled and recomputed networks: the same training up to rounding."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.amp.grad_scaler import GradScaler

from palette.errors import UserError
from palette.stages.train import TrainRuntime, TrainSpec
from palette.training import loop, machine
from palette.training.checkpoint import States
from palette.training.distributed import World
from palette.training.loop import train
from palette.training.trainer import Trainer, build
from tests.tiny import NETWORK, pictures, train_spec

ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp32 arithmetic with fp16's scaler: what the trainer does with it can be seen on a CPU."""

    def with_scaler(spec: TrainSpec, world: World) -> Trainer:
        trainer = build(spec, world)
        trainer.scaler = GradScaler("cpu", init_scale=1024.0, growth_interval=5)
        return trainer

    monkeypatch.setattr(loop, "build", with_scaler)


def run(folder: Path, **changes: Any) -> Trainer:
    return train(train_spec(**changes), pictures(20), folder, ALONE)


def overflow_at(monkeypatch: pytest.MonkeyPatch, *steps: int, factor: float = 1e38) -> None:
    """The losses of these steps (from 0) are infinite once scaled, as fp16's may be; or with a factor ∞, always."""
    losses = Trainer.losses

    def patched(self: Trainer, network: torch.nn.Module, batch: Any) -> torch.Tensor:
        return losses(self, network, batch) * (factor if self.step in steps else 1.0)

    monkeypatch.setattr(Trainer, "losses", patched)


def same(first: Trainer, second: Trainer) -> bool:
    pairs = zip(first.averaged_weights().values(), second.averaged_weights().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.usefixtures("scaled")
def test_the_scale_cancels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = run(tmp_path / "scaled")
    assert trainer.scaler.get_scale() == 4096  # 12 steps, doubled after each 5
    assert log(tmp_path / "scaled")[-1] | {"skipped_steps": 0, "loss_scale": 4096.0} == log(tmp_path / "scaled")[-1]
    monkeypatch.setattr(loop, "build", build)
    plain = run(tmp_path / "plain")
    for a, b in zip(trainer.averaged_weights().values(), plain.averaged_weights().values(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


@pytest.mark.usefixtures("scaled")
def test_an_overflow_only_skips_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overflow_at(monkeypatch, 6)
    before: list[torch.Tensor] = []
    update = Trainer.update

    def watched(self: Trainer, prepared: Any) -> torch.Tensor:
        before.append(self.network.state_dict()["first.weight"].clone())
        return update(self, prepared)

    monkeypatch.setattr(Trainer, "update", watched)
    trainer = run(tmp_path)
    assert trainer.step == 12
    assert torch.equal(before[6], before[7])
    assert not torch.equal(before[7], before[8])
    last = log(tmp_path)[-1]
    assert (last["skipped_steps"], last["loss_scale"]) == (1, 2048.0)  # doubled, halved, doubled
    assert all(value.isfinite().all() for value in trainer.averaged_weights().values())


@pytest.mark.usefixtures("scaled")
def test_a_collapsed_scale_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overflow_at(monkeypatch, *range(5, 30), factor=float("inf"))
    with pytest.raises(UserError, match=r"by step 20 fp16's loss scale has fallen to 0\.\d+; 15 steps were skipped"):
        run(tmp_path, steps=30)
    assert max(States(tmp_path).steps(99)) == 16


@pytest.mark.usefixtures("scaled")
def test_resuming_keeps_scale_and_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overflow_at(monkeypatch, 2, 9)
    whole = run(tmp_path / "whole")
    run(tmp_path / "cut", steps=7)
    resumed = run(tmp_path / "cut")
    assert same(whole, resumed)
    assert resumed.skipped.item() == whole.skipped.item() == 2
    assert resumed.scaler.state_dict() == whole.scaler.state_dict()


def test_fp16_trains_close_to_fp32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU this is refused, but it can be computed."""
    run(tmp_path / "fp32", steps=6)
    monkeypatch.setattr(loop, "check", lambda spec, world: None)
    trainer = run(tmp_path / "fp16", steps=6, precision="fp16")
    assert next(trainer.network.parameters()).dtype == torch.float32
    losses = [log(tmp_path / name)[-1]["loss"] for name in ("fp32", "fp16")]
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.skipif(not machine.cpu_has_bf16(), reason="this processor has no bfloat16 instructions")
def test_bf16_trains_close_to_fp32(tmp_path: Path) -> None:
    fine, coarse = run(tmp_path / "fp32"), run(tmp_path / "bf16", precision="bf16")
    assert next(coarse.network.parameters()).dtype == torch.float32
    losses = [log(tmp_path / name)[-1]["loss"] for name in ("fp32", "bf16")]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert not same(fine, coarse)


def test_recomputing_changes_nothing(tmp_path: Path) -> None:
    network = NETWORK.model_copy(update={"dropout": 0.3})
    plain = run(tmp_path / "plain", network=network)
    recomputed = run(tmp_path / "recomputed", network=network, runtime=TrainRuntime(recompute=True))
    assert recomputed.network.recompute
    assert same(plain, recomputed)


@pytest.mark.slow
def test_compiling_changes_rounding_only(tmp_path: Path) -> None:
    network = NETWORK.model_copy(update={"dropout": 0.3})
    plain = run(tmp_path / "plain", network=network, validation_images=3)
    runtime = TrainRuntime(compile=True, preview_every=12, checkpoint_every=4)
    compiled = run(tmp_path / "compiled", network=network, validation_images=3, runtime=runtime)
    assert compiled.averaged_weights().keys() == plain.averaged_weights().keys()
    assert "_orig_mod" not in "".join(torch.load(States(tmp_path / "compiled").path(12))["network"])
    for a, b in zip(plain.averaged_weights().values(), compiled.averaged_weights().values(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=0)
