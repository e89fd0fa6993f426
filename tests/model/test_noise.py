"""Each embedding of the noise level."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palette.model.noise import NoiseLevel, sinusoids

GAMMAS = torch.tensor([4.4e-5, 0.3, 0.5, 0.9, 1 - 1e-6], dtype=torch.float64)


def log_snr_of(gamma: torch.Tensor) -> torch.Tensor:
    return torch.log(gamma / (1 - gamma))


def adm_gammas() -> torch.Tensor:
    """γ of ADM's 1000 timesteps."""
    return torch.from_numpy(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))


def test_sinusoids_are_ddpms() -> None:
    value = torch.tensor([0.0, 3.0])
    embedded = sinusoids(value, 8)
    assert embedded.shape == (2, 8)
    torch.testing.assert_close(embedded[0], torch.tensor([1.0] * 4 + [0.0] * 4))
    torch.testing.assert_close(embedded[1, 5], torch.tensor(3 * 10_000 ** (-1 / 4)).sin())
    torch.testing.assert_close(sinusoids(value, 8, sine_first=True), embedded.roll(4, dims=1))


def test_log_snr_is_a_quarter_of_ln_sigma() -> None:
    sigma = ((1 - GAMMAS) / GAMMAS).sqrt()
    torch.testing.assert_close(NoiseLevel("log-snr", 8)(log_snr_of(GAMMAS)), sinusoids(sigma.log() / 4, 8))


def test_gamma_is_not_scaled() -> None:
    embedded = NoiseLevel("gamma", 8)(log_snr_of(GAMMAS))
    torch.testing.assert_close(embedded[:, 0], GAMMAS.float().cos())
    torch.testing.assert_close(embedded[:, 4], GAMMAS.float().sin())


def test_timesteps_are_those_of_adms_schedule() -> None:
    found = NoiseLevel("timestep", 8).number(log_snr_of(adm_gammas()))
    torch.testing.assert_close(found, torch.arange(1000, dtype=torch.float64), atol=1e-6, rtol=0)


@given(st.floats(-80, 80), st.sampled_from([torch.float32, torch.float64]))
def test_any_level_has_a_timestep_between_its_neighbors(log_snr: float, dtype: torch.dtype) -> None:
    (found,) = NoiseLevel("timestep", 8).number(torch.tensor([log_snr], dtype=dtype)).tolist()
    cleaner = int((log_snr_of(adm_gammas()) > log_snr).sum())  # timesteps 0 to cleaner - 1 have less noise
    assert max(cleaner - 1, 0) - 1e-3 <= found <= min(cleaner, 999) + 1e-3


@pytest.mark.parametrize("kind", ["log-snr", "gamma", "timestep"])
def test_no_embedding_is_saved(kind: str) -> None:
    assert not NoiseLevel(kind, 8).state_dict()
