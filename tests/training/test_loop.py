"""Training: the same weights however it is interrupted, and no silent failure."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from palette.config.models import Objective
from palette.errors import Interrupted, UserError
from palette.stages.train import TrainRuntime, TrainSpec
from palette.training.checkpoint import States
from palette.training.distributed import World
from palette.training.log import Log, is_logged
from palette.training.loop import Saving, train
from palette.training.stream import Stream, batches, micro_batches, slices
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


STEADY = ("step", "lr", "validation_loss")
"""What a log says of a training however often it was cut; the loss is a mean since the line before or since the cut."""


def every_weight(spec: TrainSpec, folder: Path) -> dict[str, torch.Tensor]:
    """The averages of all kinds, and the weights themselves where they are kept."""
    trainer = train(spec, pictures(20), folder, ALONE)
    return trainer.averaged_weights() | trainer.averages_by_width()


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


EVERYTHING = {
    "network": NETWORK.model_copy(update={"dropout": 0.3}),
    "ema_widths": (0.0, 0.05, 0.1),
    "validation_images": 3,
    "accumulate": 2,
}


@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["plain", "everything"])
def test_a_resumed_training_ends_with_the_same_weights(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = train_spec(**changes)
    whole = every_weight(spec, tmp_path / "whole")
    for step in (2, 7, 11):  # before the first state, and after each
        at_step(monkeypatch, step, crash)
        with pytest.raises(RuntimeError, match="power cut"):
            every_weight(spec, tmp_path / "cut")
    assert same(every_weight(spec, tmp_path / "cut"), whole)
    assert len(whole) == len(list(build(spec, ALONE).network.parameters())) * (1 + len(spec.ema_widths))
    parts = [{k: v for k, v in line.items() if k in STEADY} for line in log(tmp_path / "cut") + log(tmp_path / "whole")]
    assert parts[: len(parts) // 2] == parts[len(parts) // 2 :]
    assert States(tmp_path / "cut").steps(99) == [12, 8]


def test_milestones_are_kept_between_the_regular_states(tmp_path: Path) -> None:
    runtime = TrainRuntime(checkpoint_every=4, checkpoints_kept=1, milestones=(3, 5))
    whole = weights(train_spec(runtime=runtime), tmp_path)
    assert States(tmp_path).steps(99) == [12, 5, 3]
    for step in (12, 5):
        States(tmp_path).path(step).unlink()
    assert same(weights(train_spec(runtime=runtime), tmp_path), whole)


def test_states_are_saved_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    monkeypatch.setattr(States, "save", lambda self, state: saved.append(state["step"]))
    weights(train_spec(runtime=TrainRuntime(checkpoint_minutes=1e-9)), tmp_path)
    assert saved == list(range(1, 13))


def test_checkpoint_minutes_are_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = train_spec(runtime=TrainRuntime(checkpoint_every=10**6, checkpoint_minutes=3))
    trainer, now = build(spec, ALONE), 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    save = Saving(States(tmp_path), last=now)
    trainer.step = 1
    for _ in range(2):  # the second interval begins with the first state
        now += 179.9
        assert not save.due(trainer)
        now += 0.2
        assert save.due(trainer)
        save(trainer)


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP])
@pytest.mark.parametrize("ignored", [False, True])
def test_a_signal_saves_and_training_continues(
    number: signal.Signals, ignored: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the process was started to ignore it, as by `nohup`; SIGTERM saves even so, for jobs of Slurm ignore it."""
    saved: list[int] = []
    monkeypatch.setattr(States, "save", lambda self, state: saved.append(state["step"]))
    at_step(monkeypatch, 5, lambda _: os.kill(os.getpid(), number))
    before = signal.signal(number, signal.SIG_IGN) if ignored else signal.getsignal(number)
    try:
        weights(train_spec(), tmp_path)
        assert signal.getsignal(number) is (signal.SIG_IGN if ignored else before)
    finally:
        signal.signal(number, before)
    assert saved == ([4, 8, 12] if ignored and number != signal.SIGTERM else [4, 6, 8, 12])


def test_ctrl_c_saves_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_step(monkeypatch, 5, lambda _: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted, match="stopped at step 6 of 12; its state is saved") as stopped:
        weights(train_spec(), tmp_path / "cut")
    assert stopped.value.exit_code == 75
    assert States(tmp_path / "cut").steps(99) == [6, 4]
    assert same(weights(train_spec(), tmp_path / "cut"), weights(train_spec(), tmp_path / "whole"))


class Follower(World):
    """One that leaves everything to another."""

    leads = False


@pytest.mark.parametrize(("asked", "error"), [(True, Interrupted), (False, RuntimeError)])
def test_another_rank_leaves_stopping_to_rank_0(
    asked: bool, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on until an exchange fails, and only then takes that for the end of rank 0."""

    def interrupt(_: Trainer) -> None:
        if asked:
            os.kill(os.getpid(), signal.SIGINT)

    def fail(self: Trainer, _: object) -> None:
        if self.step == 8:
            raise RuntimeError("connection closed by peer")

    at_step(monkeypatch, 5, interrupt)
    apply = Trainer._apply_gradients
    monkeypatch.setattr(Trainer, "_apply_gradients", lambda self, value: (fail(self, value), apply(self, value)))
    with pytest.raises(error, match="stopped with rank 0" if asked else "connection closed"):
        train(train_spec(), pictures(20), tmp_path, Follower(0, 1, torch.device("cpu")))
    assert States(tmp_path).steps(99) == []


def test_a_gradient_that_is_not_finite_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def poison(trainer: Trainer) -> None:
        next(trainer.network.parameters()).data.fill_(float("nan"))

    at_step(monkeypatch, 9, poison)
    with pytest.raises(UserError, match=r"at step 10 the gradient was not finite \(loss nan\).*Lower `learning_rate`"):
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
    assert set(lines[0]) == {"step", "loss", "lr", "images_per_second", "data_wait", "memory_gb", "seconds"}
    assert 0 <= lines[0]["data_wait"] <= 1
    assert 0.05 < lines[0]["memory_gb"] < 20


@pytest.mark.parametrize("kind", ["epsilon", "x0", "v", "regression"])
def test_every_objective_trains(kind: str, tmp_path: Path) -> None:
    trained = train(train_spec(steps=3, objective=Objective(kind=kind, loss="l1")), pictures(4), tmp_path, ALONE)
    assert trained.step == 3


def test_averages_are_not_the_last_weights(tmp_path: Path) -> None:
    trained = train(train_spec(), pictures(20), tmp_path, ALONE)
    averaged, last = trained.averaged_weights(), dict(trained.network.named_parameters())
    assert averaged.keys() == last.keys()
    assert not torch.equal(averaged["first.weight"], last["first.weight"])


def test_averages_are_the_power_functions_of_the_weights_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history: list[torch.Tensor] = []
    update = Trainer.update

    def recorded(self: Trainer, prepared: Any) -> torch.Tensor:
        value = update(self, prepared)
        history.append(self.network.first.weight.detach().double().clone())  # type: ignore[union-attr]
        return value

    monkeypatch.setattr(Trainer, "update", recorded)
    found = train(train_spec(ema_widths=(0.1, 0.0)), pictures(20), tmp_path, ALONE).averages_by_width()
    times = torch.linspace(0, 1, 13, dtype=torch.float64) ** (6.937203937601809 + 1)
    expected = sum(share * weight for share, weight in zip(times.diff(), history, strict=True))
    torch.testing.assert_close(found["0.1/first.weight"].double(), expected, atol=1e-6, rtol=0)
    assert torch.equal(found["0.0/first.weight"].double(), history[-1])


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


def test_log_lines_become_sparser() -> None:
    logged = [step for step in range(1, 30_001) if is_logged(step, 30_001)]
    assert logged[:3] == [10, 20, 30]
    assert logged.count(1100) == 1
    assert 1110 not in logged
    assert len(logged) == 100 + 90 + 20
    assert is_logged(7, 7)


def test_the_log_has_the_learning_rate_of_the_step(tmp_path: Path) -> None:
    trained = train(train_spec(steps=20, warmup=40), pictures(20), tmp_path, ALONE)
    assert [line["lr"] for line in log(tmp_path)] == pytest.approx([1e-3 * 10 / 40, 1e-3 * 20 / 40])
    assert trained.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * 20 / 40)


class OfTwo(World):
    """Rank 0 of two processes; the other one's value is 3 where this one's is 1."""

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        return value * (1 + 3)


def test_the_logged_loss_is_the_mean_over_steps_and_processes(tmp_path: Path) -> None:
    trainer = build(train_spec(), ALONE)
    trainer.world = OfTwo(0, 2, torch.device("cpu"))
    writer = Log(tmp_path, trainer)
    for value in range(1, 11):
        trainer.step += 1
        writer.add(torch.tensor(float(value)))
    assert [(line["step"], line["loss"]) for line in log(tmp_path)] == [(10, 5.5 * (1 + 3) / 2)]


def updated(spec: TrainSpec, world: World) -> torch.Tensor:
    """What one step by this process of `world` returns; the gradients stay its own."""
    images = pictures(20)
    stream = Stream(images, spec.mix, spec.seed, spec.batch_size, spec.image_size, spec.flip)
    trainer = build(spec, ALONE)
    trainer.world = world
    places = slices(spec.batch_size, world.rank, world.size, micro_batches(spec, world.size))
    with batches(stream, range(1), places, 1) as prepared:
        return trainer.update(prepared)


def test_the_returned_loss_has_no_graph() -> None:
    assert updated(train_spec(), ALONE).grad_fn is None


def test_dropout_depends_on_the_rank_and_not_on_the_number_of_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = train_spec(network=NETWORK.model_copy(update={"dropout": 0.3}), runtime=TrainRuntime(gpus=4))
    drawn: list[int] = []
    seed = torch.manual_seed
    monkeypatch.setattr(torch, "manual_seed", lambda value: (drawn.append(value), seed(value))[1])
    by_size = []
    for size in (1, 2, 4):
        drawn.clear()
        losses = [updated(spec, World(rank, size, torch.device("cpu"))).item() for rank in range(size)]
        by_size.append(sum(losses) / size)
        weights_seed = drawn[0]
        assert len({*drawn} - {weights_seed}) == 4
    assert by_size[1:] == pytest.approx([by_size[0]] * 2, rel=1e-5)


def test_the_checkpoint_interval_changes_nothing(tmp_path: Path) -> None:
    often = train_spec(runtime=TrainRuntime(checkpoint_every=1))
    assert often.hash == train_spec().hash
    assert same(weights(often, tmp_path / "often"), weights(train_spec(), tmp_path / "seldom"))


@pytest.mark.parametrize("norm", [0.5, 4.0])
def test_gradients_are_clipped_to_the_requested_norm(norm: float, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = build(train_spec(clip=1.0), ALONE)
    count = sum(weight.numel() for weight in trainer.parameters)
    for weight in trainer.parameters:
        weight.grad = torch.full_like(weight, norm / count**0.5)
    seen: list[float] = []

    def step() -> None:
        seen.append(nn.utils.get_total_norm([w.grad for w in trainer.parameters if w.grad is not None]).item())

    monkeypatch.setattr(trainer.optimizer, "step", step)
    trainer._apply_gradients(torch.zeros(()))
    assert seen == [pytest.approx(min(norm, 1.0), rel=1e-4)]
