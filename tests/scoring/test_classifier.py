"""The classifier: shapes, determinism, invariances, training, errors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from palette.data.store.store import ImageStore, StoredImage, write_store
from palette.errors import DataError
from palette.scoring.classifier import Classifier, load_classifier, save_classifier, to_tensor
from palette.scoring.fit import accuracy, augment, fit
from palette.system.randomness import generator
from tests.scoring.conftest import OPTIONS

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [8, 32, 33, 64])
def test_features_have_four_times_the_channels_at_any_size(size: int) -> None:
    model = Classifier(channels=8, classes=3).eval()
    images = torch.zeros(2, 3, size, size)
    assert model.features(images).shape == (2, 32)
    assert model(images).shape == (2, 3)


def test_training_learns_and_repeats_to_the_bit(results: Path, tmp_path: Path) -> None:
    with ImageStore(results / "prepare/tiny/train.zip") as train, ImageStore(results / "prepare/tiny/test.zip") as test:
        models = [fit(train, OPTIONS, CPU) for _ in range(2)]
        assert accuracy(models[0], test, CPU) > 0.9
    for number, model in enumerate(models):
        save_classifier(model, tmp_path / f"{number}.safetensors")
    assert (tmp_path / "0.safetensors").read_bytes() == (tmp_path / "1.safetensors").read_bytes()


def test_the_first_step_is_adamws(results: Path) -> None:
    """From the seeded weights w to w (1 - rate · decay) ± rate: the first of Adam's steps has one length."""
    rate = 0.5
    torch.manual_seed(int(generator(0, "classifier").integers(1 << 62)))
    before = Classifier(OPTIONS.channels, 2)
    with ImageStore(results / "prepare/tiny/train.zip") as train:
        after = fit(train, OPTIONS.model_copy(update={"steps": 1, "learning_rate": rate}), CPU)
    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        moved = (new - old * (1 - rate * 0.05)).abs()
        assert (moved - rate).abs().median() < 1e-4


def test_saved_weights_give_the_same_features(tmp_path: Path) -> None:
    model = Classifier(8, 3).eval()
    save_classifier(model, tmp_path / "c.safetensors")
    images = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(
        load_classifier(tmp_path / "c.safetensors", 8, 3, CPU).features(images), model.features(images)
    )


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    save_classifier(Classifier(8, 3), tmp_path / "c.safetensors")
    with pytest.raises(DataError, match="not the weights of this classifier"):
        load_classifier(tmp_path / "c.safetensors", 16, 3, CPU)
    broken = Classifier(8, 3)
    broken.head.bias.data[0] = float("nan")
    save_classifier(broken, tmp_path / "c.safetensors")
    with pytest.raises(DataError, match=r"NaN or infinite values in head\.bias"):
        load_classifier(tmp_path / "c.safetensors", 8, 3, CPU)


def test_pixels_become_minus_one_to_one() -> None:
    pixels = np.array([0, 255], dtype=np.uint8).reshape(1, 1, 2, 1).repeat(3, axis=3)
    assert to_tensor(pixels, CPU)[0, :, 0].tolist() == [[-1, 1]] * 3


def test_augmentation_keeps_colors_and_sharpness() -> None:
    """A checkerboard of two colors stays one: nothing but a shift and a mirror image."""
    board = np.indices((16, 16)).sum(0) % 2
    colors = np.array([[200, 30, 10], [0, 90, 255]], dtype=np.uint8)
    out = augment(colors[board][None].repeat(8, axis=0), np.random.default_rng(0))
    assert {tuple(color) for color in out.reshape(-1, 3).tolist()} == {(200, 30, 10), (0, 90, 255)}


def test_one_class_is_explained(tmp_path: Path) -> None:
    write_store(tmp_path / "one.zip", [StoredImage("0.png", np.zeros((8, 8, 3), np.uint8))], ["all"])
    with (
        ImageStore(tmp_path / "one.zip") as single,
        pytest.raises(DataError, match=r"2 classes.*extractors: \[pixels\]"),
    ):
        fit(single, OPTIONS, CPU)
