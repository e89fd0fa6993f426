"""Training: the same weights however it is cut up, and no silent failure."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from palette.config import Objective
from palette.errors import ConfigError, Interrupted, UserError
from palette.spec import Runtime, TrainSpec
from palette.training import loop
from palette.training.checkpoint import States
from palette.training.distributed import World
from palette.training.log import is_logged
from palette.training.loop import train
from palette.training.trainer import Trainer, build, learning_rate
from tests.tiny import NETWORK, pictures, train_spec

ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def weights(spec: TrainSpec, folder: Path) -> dict[str, torch.Tensor]:
    return train(spec, pictures(20), folder, ALONE).averaged_weights()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[Trainer], None]) -> None:
    """Call `act` before the optimizer step after `step` steps; once."""
    update, acted = Trainer.update, []

    def patched(self: Trainer, parts: object) -> torch.Tensor:
        if self.step == step and not acted:
            acted.append(step)
            act(self)
        return update(self, parts)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "update", patched)


def log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def crash(_: Trainer) -> None:
    raise RuntimeError("power cut")


@pytest.mark.parametrize("network", [NETWORK, NETWORK.model_copy(update={"dropout": 0.3})], ids=["plain", "dropout"])
def test_a_resumed_training_ends_with_the_same_weights(
    network: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = train_spec(network=network)
    whole = weights(spec, tmp_path / "whole")
    for step in (2, 7, 11):  # before the first state, and after each
        at_step(monkeypatch, step, crash)
        with pytest.raises(RuntimeError, match="power cut"):
            weights(spec, tmp_path / "cut")
    assert same(weights(spec, tmp_path / "cut"), whole)
    assert [line["step"] for line in log(tmp_path / "cut")] == [line["step"] for line in log(tmp_path / "whole")]
    assert States(tmp_path / "cut").steps(99) == [12, 8]


def test_raising_steps_continues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights(train_spec(steps=6), tmp_path / "longer")
    longer = weights(train_spec(steps=12), tmp_path / "longer")
    assert "going on from step 6" in capsys.readouterr().err
    assert same(longer, weights(train_spec(steps=12), tmp_path / "whole"))
    assert train_spec(steps=6).state_key == train_spec(steps=12).state_key != train_spec(seed=1).state_key


def test_a_damaged_newest_state_costs_only_its_steps(tmp_path: Path) -> None:
    whole = weights(train_spec(), tmp_path)
    newest = States(tmp_path).path(12)
    newest.write_bytes(newest.read_bytes()[:-100])
    assert same(weights(train_spec(), tmp_path), whole)


def test_sigterm_saves_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    save = States.save
    monkeypatch.setattr(States, "save", lambda self, state: (saved.append(state["step"]), save(self, state)))
    at_step(monkeypatch, 5, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    weights(train_spec(), tmp_path)
    assert saved == [4, 6, 8, 12]
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_saves_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_step(monkeypatch, 5, lambda _: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted, match="stopped at step 6 of 12; its state is saved") as stopped:
        weights(train_spec(), tmp_path / "cut")
    assert stopped.value.exit_code == 75
    assert States(tmp_path / "cut").steps(99) == [6, 4]
    assert same(weights(train_spec(), tmp_path / "cut"), weights(train_spec(), tmp_path / "whole"))


def test_a_gradient_that_is_not_finite_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def poison(trainer: Trainer) -> None:
        next(trainer.network.parameters()).data.fill_(float("nan"))

    at_step(monkeypatch, 9, poison)
    with pytest.raises(UserError, match=r"at step 10 the gradient was not finite.*Lower `learning_rate`"):
        weights(train_spec(), tmp_path)
    assert States(tmp_path).steps(99) == [8, 4]
    assert [line["step"] for line in log(tmp_path)] == []
    assert same(weights(train_spec(), tmp_path), weights(train_spec(), tmp_path / "whole"))


def test_accumulation_changes_rounding_only(tmp_path: Path) -> None:
    whole = weights(train_spec(), tmp_path / "1")
    parts = weights(train_spec(accumulate=4), tmp_path / "4")
    for name, weight in whole.items():
        torch.testing.assert_close(parts[name], weight, atol=2e-4, rtol=0)


def test_the_loss_falls(tmp_path: Path) -> None:
    train(train_spec(steps=60, learning_rate=3e-3), pictures(20), tmp_path, ALONE)
    lines = log(tmp_path)
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
    assert {"step", "loss", "lr", "images_per_second", "seconds"} == set(lines[0])


@pytest.mark.parametrize("kind", ["epsilon", "x0", "v", "regression"])
def test_every_objective_trains(kind: str, tmp_path: Path) -> None:
    trained = train(train_spec(steps=3, objective=Objective(kind=kind, loss="l1")), pictures(4), tmp_path, ALONE)
    assert trained.step == 3


def test_averages_are_not_the_last_weights(tmp_path: Path) -> None:
    trained = train(train_spec(), pictures(20), tmp_path, ALONE)
    averaged, last = trained.averaged_weights(), dict(trained.network.named_parameters())
    assert averaged.keys() == last.keys()
    assert not torch.equal(averaged["first.weight"], last["first.weight"])


def test_initial_weights_belong_to_the_seed() -> None:
    torch.manual_seed(123)
    first = build(train_spec(), ALONE).averaged_weights()
    torch.manual_seed(321)
    assert same(first, build(train_spec(), ALONE).averaged_weights())
    assert not same(first, build(train_spec(seed=1), ALONE).averaged_weights())


def test_learning_rate_rises_then_stays() -> None:
    spec = train_spec(warmup=4, learning_rate=1.0)
    assert [learning_rate(step, spec) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert learning_rate(0, train_spec(warmup=0, learning_rate=1.0)) == 1.0


def test_log_lines_thin_out() -> None:
    logged = [step for step in range(1, 30_001) if is_logged(step, 30_001)]
    assert logged[:3] == [10, 20, 30]
    assert logged.count(1100) == 1
    assert 1110 not in logged
    assert len(logged) == 100 + 90 + 20
    assert is_logged(7, 7)


def test_refuses_a_batch_that_cannot_be_dealt() -> None:
    with pytest.raises(ConfigError, match=r"`batch_size` 8 is not a multiple of 6 \(2 devices × `accumulate` 3\)"):
        loop.check(train_spec(accumulate=3), World(0, 2, torch.device("cpu")))


def test_refuses_bf16_without_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "cpu_has_bf16", lambda: False)
    with pytest.raises(ConfigError, match="no bfloat16 instructions"):
        loop.check(train_spec(precision="bf16"), ALONE)


@pytest.mark.skipif(not loop.cpu_has_bf16(), reason="this processor has no bfloat16 instructions")
def test_bf16_trains_close_to_fp32(tmp_path: Path) -> None:
    fine = train(train_spec(), pictures(20), tmp_path / "fp32", ALONE)
    coarse = train(train_spec(precision="bf16"), pictures(20), tmp_path / "bf16", ALONE)
    assert next(coarse.network.parameters()).dtype == torch.float32
    losses = [log(tmp_path / name)[-1]["loss"] for name in ("fp32", "bf16")]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert not same(fine.averaged_weights(), coarse.averaged_weights())


def test_checkpoints_come_from_runtime_and_change_nothing(tmp_path: Path) -> None:
    often = train_spec(runtime=Runtime(checkpoint_every=1))
    assert often.hash == train_spec().hash
    assert same(weights(often, tmp_path / "often"), weights(train_spec(), tmp_path / "seldom"))
