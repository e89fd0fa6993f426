"""Averages of the weights: power functions against their closed form, and blending after training."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save_file

from palette.errors import ConfigError, DataError
from palette.model import ema

Array = npt.NDArray[np.float64]


def walk(steps: int, size: int = 300) -> Array:
    """[steps, size]: weights that wander, with noise on top."""
    random = np.random.default_rng(0)
    return np.cumsum(random.normal(size=(steps, size)), axis=0) + 3 * random.normal(size=(steps, size))


def closed_form(history: Array, gamma: float) -> Array:
    """Step t of T counts as much as the profile (γ+1) τ^γ has between (t-1)/T and t/T."""
    times = np.linspace(0, 1, len(history) + 1) ** (gamma + 1)
    return np.diff(times) @ history


@given(st.floats(0.005, 0.28))
def test_the_exponent_gives_the_width(width: float) -> None:
    gamma = ema.exponent(width)
    assert gamma > 0
    assert math.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3))) == pytest.approx(width, rel=1e-9)


def test_the_exponents_of_the_paper() -> None:
    assert [round(ema.exponent(width), 2) for width in (0.05, 0.10)] == [16.97, 6.94]


@pytest.mark.parametrize("width", [0.03, 0.1, 0.28])
def test_an_average_weighs_history_by_its_power_function(width: float) -> None:
    history, gamma = walk(200), ema.exponent(width)
    averages = [torch.full((150,), 99.0, dtype=torch.float64), torch.full((10, 15), -99.0, dtype=torch.float64)]
    for step, weights in enumerate(torch.from_numpy(history), start=1):
        ema.update_power(averages, [weights[:150], weights[150:].view(10, 15)], step, gamma)
    found = torch.cat([average.flatten() for average in averages]).numpy()
    np.testing.assert_allclose(found, closed_form(history, gamma), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("kept", "off"), [((0.05, 0.1), 0.2), ((0.05, 0.1, 0.2), 0.12), ((0.05, 0.2), 0.5)])
def test_an_interpolated_width_is_close_to_a_tracked_one(kept: Sequence[float], off: float) -> None:
    """Off by less than this share of what separates the averages of widths 0.05 and 0.1; far-apart ones do badly."""
    history = walk(2000)
    tracked = {width: closed_form(history, ema.exponent(width)) for width in (*kept, 0.07, 0.1)}
    blended = sum(c * tracked[w] for w, c in zip(kept, ema.blend(kept, 0.07), strict=True))
    apart = np.linalg.norm(tracked[0.05] - tracked[0.1])
    error = np.linalg.norm(blended - tracked[0.07]) / apart
    assert error < off


@given(st.lists(st.floats(0.01, 0.28), min_size=2, max_size=4, unique=True), st.floats(0, 1))
@example([0.1, 0.1 + 1e-9, 0.2], 0.5)
def test_coefficients_sum_to_one(widths: list[float], place: float) -> None:
    low, high = min(widths), max(widths)
    if high - low > 0.01:
        assert sum(ema.blend([0.0, *widths], low + place * (high - low))) == pytest.approx(1, abs=1e-6)


def test_a_stored_width_is_returned_unchanged() -> None:
    assert ema.blend([0.0, 0.05, 0.1], 0.1) == [0, 0, 1]
    assert ema.blend([0.0, 0.05, 0.1], 0.0) == [1, 0, 0]
    assert ema.blend([0.0, 0.05, 0.1], 0.07)[0] == 0


@pytest.mark.parametrize("target", [0.04, 0.11, 0.0])
def test_no_width_is_extrapolated(target: float) -> None:
    with pytest.raises(ConfigError, match=r"the training kept 0.05, 0.1 .*between two of them"):
        ema.blend([0.05, 0.1], target)


def test_averages_are_read_and_blended(tmp_path: Path) -> None:
    file = tmp_path / "averages.safetensors"
    random = torch.Generator().manual_seed(0)
    tensors = {
        f"{width!r}/{name}": torch.randn(4, 3, generator=random) for width in (0.0, 0.05, 0.1) for name in ("a.w", "b")
    }
    save_file(tensors, file)
    assert torch.equal(ema.averaged(file, 0.05)["a.w"], tensors["0.05/a.w"])
    assert torch.equal(ema.averaged(file, 0)["b"], tensors["0.0/b"])
    _, narrow, wide = ema.blend([0.0, 0.05, 0.1], 0.07)
    blended = ema.averaged(file, 0.07)
    assert blended.keys() == {"a.w", "b"}
    torch.testing.assert_close(blended["b"], narrow * tensors["0.05/b"] + wide * tensors["0.1/b"])


def test_a_file_that_holds_no_averages(tmp_path: Path) -> None:
    save_file({"first.weight": torch.ones(1)}, tmp_path / "model.safetensors")
    for name in ("model.safetensors", "missing.safetensors"):
        with pytest.raises(DataError, match=f"{name}: not the averages of a training"):
            ema.averaged(tmp_path / name, 0.05)


def test_the_main_average_warms_up() -> None:
    assert ema.decay_at(0, 0.9999) == pytest.approx(0.1)
    assert ema.decay_at(10**6, 0.9999) == 0.9999
    averages, weights = [torch.zeros(3), torch.ones(2, 2)], [torch.ones(3), torch.ones(2, 2)]
    ema.update(averages, weights, 0, 0.9999)
    torch.testing.assert_close(averages[0], torch.full((3,), 0.9))
    ema.update(averages, weights, 10**6, 0.5)
    torch.testing.assert_close(averages[0], torch.full((3,), 0.95))
    torch.testing.assert_close(averages[1], torch.ones(2, 2))
