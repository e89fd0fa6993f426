"""Held-out images: never trained on, measured identically by any number of processes; and their previews."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from palette.config.models import Objective
from palette.diffusion.objective import loss
from palette.errors import ConfigError
from palette.stages.train import TrainRuntime, TrainSpec
from palette.training.distributed import World
from palette.training.loop import train
from palette.training.stream import Joined, Stream, collate
from palette.training.trainer import Trainer, build
from palette.training.validation import Validation, fixed_stream, split
from tests.tiny import NETWORK, SIZE, pictures, train_spec

ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_held_out_images_are_drawn_at_random() -> None:
    images = pictures(7)
    kept, held_out = split(images, 2)
    assert held_out is not None
    assert (len(kept), len(held_out)) == (5, 2)
    places = [
        [next(k for k in range(7) if np.array_equal(part[i], images[k])) for i in range(len(part))]
        for part in (kept, held_out)
    ]
    assert sorted(places[0] + places[1]) == list(range(7))
    assert places[1] != [5, 6]  # a store may be sorted by class
    assert split(images, 0) == (images, None)


def test_each_of_several_datasets_holds_out_its_share() -> None:
    first, second = pictures(7), pictures(9, seed=1)
    kept, held_out = split(Joined([first, second], [1, 3]), 4)
    assert isinstance(kept, Joined)
    assert held_out is not None
    assert [len(part) for part in kept.parts] == [6, 6]
    both = [image.tobytes() for image in (*first, *second)]
    assert sorted(both) == sorted(part[i].tobytes() for part in (kept, held_out) for i in range(len(part)))
    assert sum(held_out[i].tobytes() in both[7:] for i in range(4)) == 3
    seen = {fixed_stream(held_out, train_spec()).image_index(position) for position in range(4)}
    assert seen == set(range(4))


def test_a_dataset_with_a_small_share_may_hold_out_nothing() -> None:
    kept, held_out = split(Joined([pictures(5), pictures(5)], [1, 20]), 2)
    assert isinstance(kept, Joined)
    assert held_out is not None
    assert [len(part) for part in kept.parts] == [5, 3]
    assert len(held_out) == 2


@pytest.mark.parametrize("count", [7, 8])
def test_refuses_to_hold_out_all(count: int) -> None:
    with pytest.raises(ConfigError, match=rf"`validation_images` {count}, but .* has 7 images.* Choose 6 or fewer"):
        split(pictures(7), count)


def test_validating_changes_no_weight(tmp_path: Path) -> None:
    spec = train_spec(validation_images=5, network=NETWORK.model_copy(update={"dropout": 0.3}))
    often = spec.model_copy(update={"runtime": TrainRuntime(validate_every=3, preview_every=5)})
    first, second = (train(s, pictures(20), tmp_path / n, ALONE) for s, n in ((spec, "seldom"), (often, "often")))
    assert spec.hash == often.hash
    for a, b in zip(first.averaged_weights().values(), second.averaged_weights().values(), strict=True):
        assert torch.equal(a, b)
    seldom, lines = log(tmp_path / "seldom"), log(tmp_path / "often")
    assert [line["step"] for line in seldom if "validation_loss" in line] == [12]
    assert [line["step"] for line in lines if "validation_loss" in line] == [3, 6, 9, 12]
    assert lines[-1]["validation_loss"] == seldom[-1]["validation_loss"]


def trained(spec: TrainSpec) -> Trainer:
    """A trainer whose averages differ from its weights."""
    trainer = build(spec, ALONE)
    random = torch.Generator().manual_seed(0)
    for average in trainer.averages:
        average += 0.1 * torch.randn(average.shape, generator=random)
    return trainer


def test_validation_is_the_mean_loss_of_the_averaged_weights() -> None:
    """Computed apart: another network with these weights, one image at a time."""
    spec = train_spec(validation_images=5, network=NETWORK.model_copy(update={"dropout": 0.3}))
    images, trainer = pictures(5), trained(spec)
    validation = Validation(images, spec)
    stream, other = fixed_stream(images, spec), build(spec, ALONE).network
    other.load_state_dict(trainer.averaged_weights())
    other.eval()
    with torch.no_grad():
        levels = stream.levels(0)
        parts = [collate([stream.example(i)], levels[i : i + 1]) for i in range(5)]
        values = [loss("edm", "l2", other, part).item() for part in parts]
    assert validation(trainer) == validation(trainer) == pytest.approx(np.mean(values), rel=1e-5)
    assert trainer.network.training
    assert np.ptp([float(part.u) for part in parts]) > 0.5  # all noise levels
    found = sorted(part.x0.sum().item() for part in parts)
    assert found == pytest.approx(sorted((i.astype(float) / 127.5 - 1).sum() for i in images), abs=1e-2)


def test_validation_shares_no_noise_with_training() -> None:
    spec, images = train_spec(validation_images=5), pictures(20)
    kept, held_out = split(images, 5)
    assert held_out is not None
    training = Stream(kept, spec.mix, spec.seed, spec.batch_size, spec.image_size, spec.flip)
    validation = fixed_stream(held_out, spec)
    noises = [stream.example(position).noise.tobytes() for stream in (training, validation) for position in range(5)]
    assert len(set(noises)) == 10
    assert not torch.equal(training.levels(0)[:1] * spec.batch_size, validation.levels(0)[:1] * 5)  # their offsets


class Apart(World):
    """One of several processes, alone: its part of the sums."""

    def sum(self, value: Tensor) -> Tensor:
        self.parts.append(value.tolist())  # type: ignore[attr-defined]
        return value


@pytest.mark.parametrize("size", [2, 4])
def test_processes_share_the_images(size: int) -> None:
    spec = train_spec(validation_images=5)
    validation, trainer = Validation(pictures(5), spec), trained(spec)
    whole = validation(trainer)
    parts: list[list[float]] = []
    for rank in range(size):
        trainer.world = Apart(rank, size, torch.device("cpu"))
        object.__setattr__(trainer.world, "parts", parts)
        validation(trainer)
    totals = np.sum(parts, axis=0)
    assert totals[1] == 5
    assert totals[0] / totals[1] == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("changes", [{}, {"objective": Objective(kind="regression")}, {"validation_images": 2}])
def test_previews_show_condition_restored_original(changes: dict[str, Any], tmp_path: Path) -> None:
    spec = train_spec(steps=4, runtime=TrainRuntime(preview_every=2), mix={"uncropping": 1.0}, **changes)
    train(spec, pictures(20), tmp_path, ALONE)
    files = sorted((tmp_path / "previews").iterdir())
    assert [file.name for file in files] == ["step-00000002.png", "step-00000004.png"]
    first, second = (np.asarray(Image.open(file)) for file in files)
    rows = 2 if spec.validation_images else 4
    assert first.shape == second.shape == (rows * (SIZE + 4) - 4, 3 * (SIZE + 4) - 4, 3)
    held_out = split(pictures(20), 2)[1]
    shown = [held_out[i] for i in range(2)] if spec.validation_images else pictures(20)[:4]
    for place in range(rows):
        row = second[place * (SIZE + 4) :][:SIZE].astype(int)
        condition, restored, original = (row[:, column * (SIZE + 4) :][:, :SIZE] for column in range(3))
        assert any(np.array_equal(original, image) for image in shown)
        hole = (condition == 128).all(axis=2)
        assert 0 < hole.mean() < 1
        assert np.array_equal(condition[~hole], original[~hole])
        assert np.array_equal(restored[~hole], original[~hole])
        assert not np.array_equal(restored[hole], original[hole])
        assert np.ptp(restored[hole]) > 0


def test_tensorboard_has_what_the_log_has(tmp_path: Path) -> None:
    runtime = TrainRuntime(tensorboard=True, preview_every=6, validate_every=5, checkpoint_every=4)
    for steps in (6, 12):
        train(train_spec(steps=steps, runtime=runtime, validation_images=2), pictures(20), tmp_path, ALONE)
    board = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"images": 0})
    board.Reload()
    lines = log(tmp_path)
    for name in ("loss", "lr", "images_per_second"):
        written = [(event.step, pytest.approx(event.value, rel=1e-6)) for event in board.Scalars(name)]
        assert [(line["step"], line[name]) for line in lines] == written
    assert [event.step for event in board.Scalars("validation_loss")] == [5, 6, 10, 12]
    assert [event.step for event in board.Images("preview")] == [6, 12]
