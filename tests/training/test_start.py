"""Starting from a trained model, or from the complete state of a training."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from palette.errors import DataError
from palette.stages.train import TrainRuntime, TrainSpec
from palette.system.files import sha256
from palette.training import start
from palette.training.checkpoint import States
from palette.training.distributed import World
from palette.training.loop import prepare, train
from palette.training.trainer import Trainer, build
from tests.tiny import pictures, train_spec

ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def finished(tmp_path: Path) -> Trainer:
    return train(train_spec(steps=5), pictures(20), tmp_path / "earlier", ALONE)


def spec_from(file: Path, **changes: Any) -> TrainSpec:
    return train_spec(start_sha256=sha256(file), runtime=TrainRuntime(start_from=file), seed=7, **changes)


def whole_state(trainer: Trainer) -> dict[str, Tensor]:
    """What `palette import` writes of a training's state."""
    weights = dict(trainer.network.named_parameters())
    moments = {name: trainer.optimizer.state[parameter] for name, parameter in weights.items()}
    return {
        **{f"network/{name}": weight.detach() for name, weight in weights.items()},
        **{f"averages/{name}": average for name, average in trainer.averaged_weights().items()},
        **{f"{part}/{name}": moments[name][part] for name in weights for part in ("exp_avg", "exp_avg_sq")},
    }


def fresh(spec: TrainSpec, tmp_path: Path) -> Trainer:
    return prepare(spec, States(tmp_path / "state"), ALONE)


def test_a_model_gives_weights_and_averages(finished: Trainer, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file(finished.averaged_weights(), file)
    trainer = fresh(spec_from(file), tmp_path)
    for name, parameter in trainer.network.named_parameters():
        assert torch.equal(parameter, finished.averaged_weights()[name])
        assert torch.equal(trainer.averaged_weights()[name], parameter)
    assert (trainer.step, trainer.earlier, len(trainer.optimizer.state)) == (0, 0, 0)


def test_a_state_resumes_as_if_it_had_never_stopped(finished: Trainer, tmp_path: Path) -> None:
    """Its next step, with the same gradients, makes the weights that the earlier training would have made."""
    file = tmp_path / "start.safetensors"
    save_file(whole_state(finished), file, {"adam_step": "5"})
    trainer = fresh(spec_from(file, warmup=0), tmp_path)
    assert (trainer.step, trainer.earlier) == (0, 5)
    for one in (trainer, finished):
        for index, parameter in enumerate(one.network.parameters()):
            parameter.grad = torch.full_like(parameter, 0.01 * (index % 3 - 1))
        one._apply_gradients(torch.zeros(()))
    for name, weight in finished.network.state_dict().items():
        assert torch.equal(trainer.network.state_dict()[name], weight)
    for name, average in finished.averaged_weights().items():
        assert torch.equal(trainer.averaged_weights()[name], average)


def test_the_number_of_earlier_steps_is_kept(finished: Trainer, tmp_path: Path) -> None:
    file = tmp_path / "start.safetensors"
    save_file(whole_state(finished), file, {"adam_step": "5"})
    spec = spec_from(file, steps=4)
    whole = train(spec, pictures(20), tmp_path / "whole", ALONE).averaged_weights()
    train(spec.model_copy(update={"steps": 2}), pictures(20), tmp_path / "cut", ALONE)
    file.unlink()  # its own states come before it
    resumed = train(spec, pictures(20), tmp_path / "cut", ALONE)
    assert resumed.earlier == 5
    assert all(torch.equal(resumed.averaged_weights()[name], weight) for name, weight in whole.items())


def test_a_file_other_than_planned_is_refused(finished: Trainer, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file(finished.averaged_weights(), file)
    spec = spec_from(file)
    save_file({name: weight + 1 for name, weight in finished.averaged_weights().items()}, file)
    with pytest.raises(DataError, match=r"model.safetensors: not the file that this training was planned with"):
        fresh(spec, tmp_path)
    file.unlink()
    with pytest.raises(DataError, match=r"the model to start from is not readable \(No such file"):
        fresh(spec, tmp_path)


def test_the_first_tensors_that_do_not_fit_are_named(finished: Trainer, tmp_path: Path) -> None:
    weights = finished.averaged_weights()
    weights["first.weight"] = torch.zeros(4, 4)
    weights["other.weight"] = torch.zeros(2)
    del weights["first.bias"]
    file = tmp_path / "model.safetensors"
    save_file(weights, file)
    with pytest.raises(DataError) as refused:
        fresh(spec_from(file), tmp_path)
    text = str(refused.value)
    assert "3 of" in text
    for line in (
        "first.bias: missing in the file",
        "first.weight: (4, 4) in the file, (8, 6, 3, 3)",
        "other.weight: (2,)",
    ):
        assert line in text


@pytest.mark.parametrize("damage", ["moments", "step", "bytes"])
def test_an_incomplete_state_is_refused(finished: Trainer, tmp_path: Path, damage: str) -> None:
    state, file = whole_state(finished), tmp_path / "start.safetensors"
    if damage == "moments":
        del state["exp_avg/first.bias"]
    save_file(state, file, None if damage == "step" else {"adam_step": "5"})
    if damage == "bytes":
        file.write_bytes(file.read_bytes()[:1000])
    says = {
        "moments": "exp_avg/first.bias: missing",
        "step": "no number of steps",
        "bytes": "not a readable safetensors",
    }
    with pytest.raises(DataError, match=says[damage]):
        fresh(spec_from(file), tmp_path)


def test_a_spec_without_its_file() -> None:
    with pytest.raises(DataError, match="does not say where it is"):
        start.begin(build(train_spec(start_sha256="0" * 64), ALONE))


@pytest.mark.parametrize("whole", [False, True])
def test_nan_values_are_refused(finished: Trainer, tmp_path: Path, whole: bool) -> None:
    tensors = whole_state(finished) if whole else finished.averaged_weights()
    name = "exp_avg/last.2.bias" if whole else "last.2.bias"
    tensors[name] = tensors[name] * float("nan")
    file = tmp_path / "start.safetensors"
    save_file(tensors, file, {"adam_step": "5"})
    with pytest.raises(DataError, match=rf"start\.safetensors: NaN or infinite values in {name}\. "):
        fresh(spec_from(file), tmp_path)
