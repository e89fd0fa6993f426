"""Restoring with random weights: trajectories and imported networks."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from palette.config.models import Network
from palette.config.sampling import Sampler
from palette.data.images.degraded import Degraded, cut
from palette.diffusion.inference import Restorer
from palette.diffusion.objective import level_range
from palette.diffusion.samplers import SAMPLERS
from palette.model.networks import build
from palette.model.unet import UNet
from tests.tiny import NETWORK, SIZE, half, pictures

JOBS = [(0, 0), (1, 0), (1, 1)]


@cache
def network(noise_embedding: str = "log-snr", backbone: str = "adm") -> UNet:
    """Untrained, but with no parameter left at zero."""
    torch.manual_seed(0)
    options = {**NETWORK.model_dump(), "noise_embedding": noise_embedding, "backbone": backbone}
    made = build(Network.model_validate(options), SIZE)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made.eval().requires_grad_(False)


def restorer(sampler: Sampler | None, objective: str = "edm", made: UNet | None = None) -> Restorer:
    return Restorer(made or network(), objective, sampler, 0, torch.device("cpu"))


def degraded() -> list[Degraded]:
    first, second = pictures(2)
    return [Degraded(first, None), cut(second, half()), cut(second, half())]


@pytest.mark.parametrize("kind", sorted(SAMPLERS))
def test_a_trajectory_leads_to_the_restored_image(kind: str) -> None:
    at_work = restorer(Sampler(kind=kind, steps=4))
    restored, trajectories = at_work(degraded(), JOBS), at_work.trajectories(degraded(), JOBS)
    for image, trajectory in zip(restored, trajectories, strict=True):
        assert len(trajectory) == (7 if kind == "heun" else 4)
        assert all(estimate.shape == image.shape and estimate.dtype == np.uint8 for estimate in trajectory)
        assert np.abs(trajectory[-1].astype(int) - image).max() <= 1
        assert not np.array_equal(trajectory[0], image)
    known = ~half()
    assert all(np.array_equal(estimate[known], pictures(2)[1][known]) for estimate in trajectories[1])


def test_watching_shows_every_evaluation_and_changes_nothing() -> None:
    seen: list[tuple[int, Tensor, Tensor]] = []
    at_work = restorer(Sampler(kind="heun", steps=3))
    watched = at_work(degraded(), JOBS, lambda *shown: seen.append(shown))
    assert all(np.array_equal(a, b) for a, b in zip(watched, at_work(degraded(), JOBS), strict=True))
    assert [number for number, _, _ in seen] == [0, 1, 2, 3, 4]
    assert all(y.shape == x0.shape == (3, 3, SIZE, SIZE) for _, y, x0 in seen)
    assert seen[0][1].std().item() == pytest.approx(1, abs=0.05)


def test_the_trajectory_of_regression_is_its_output() -> None:
    at_work = restorer(None, "regression")
    for image, trajectory in zip(at_work(degraded(), JOBS), at_work.trajectories(degraded(), JOBS), strict=True):
        assert len(trajectory) == 1
        assert np.array_equal(trajectory[0], image)


@pytest.mark.parametrize("kind", sorted(SAMPLERS))
@pytest.mark.parametrize(
    ("noise_embedding", "backbone", "objective"),
    [
        ("gamma", "adm", "epsilon"),
        ("gamma", "sr3", "epsilon"),
        ("timestep", "adm", "edm"),
        ("timestep", "adm", "epsilon"),
    ],
)
def test_every_sampler_uses_only_trained_levels_of_imported_networks(
    kind: str, noise_embedding: str, backbone: str, objective: str
) -> None:
    """That is, for levels in the range of the objective; some images come out."""
    made, asked = network(noise_embedding, backbone), []
    hook = made.register_forward_pre_hook(lambda _, arguments: asked.append(arguments[1]))
    try:
        images = restorer(Sampler(kind=kind, steps=5), objective, made)(degraded(), JOBS)
    finally:
        hook.remove()
    assert all(image.dtype == np.uint8 and np.ptp(image) > 0 for image in images)
    low, high = level_range(objective)
    levels = torch.stack(asked)  # [evaluations, 3]; the first image has units of its own
    assert levels.min() >= low - 1e-6
    assert levels.max() <= high + 1e-6
