"""Each objective's network, loss and noise levels, against the papers' formulas."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from palette.diffusion import schedule
from palette.diffusion.denoiser import Denoiser
from palette.diffusion.objective import (
    OBJECTIVES,
    WEIGHTINGS,
    Batch,
    frame,
    level_range,
    loss,
    masked_mean,
    network_input,
    stratified,
    targets,
)
from palette.model.noise import NoiseLevel

KINDS = sorted(OBJECTIVES)


class Oracle(nn.Module):
    """Answers with a given tensor, and remembers what it was asked."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor, log_snr: Tensor) -> Tensor:
        self.asked.append((x, log_snr))
        return self.answer


def images(count: int = 4, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def hole(count: int = 4) -> Tensor:
    mask = torch.zeros(count, 1, 8, 8, dtype=torch.bool)
    for i in range(count):
        mask[i, :, : i + 1, : 2 * i + 1] = True
    return mask


def test_schedules_end_where_the_papers_schedules_do() -> None:
    assert schedule.training_gammas()[-1].item() == pytest.approx(4.39e-5, rel=1e-2)
    assert schedule.inference_gammas()[-1].item() == pytest.approx(6.6e-21, rel=2e-2)
    assert schedule.inference_gammas()[0].item() == pytest.approx(1 - 1e-4)


def test_the_three_names_of_a_level_agree() -> None:
    log_snr = torch.linspace(-40, 40, 9, dtype=torch.float64)
    signal, noise = schedule.signal_and_noise(log_snr)
    torch.testing.assert_close(signal**2 + noise**2, torch.ones_like(log_snr))
    torch.testing.assert_close(schedule.sigma_of(log_snr), noise / signal)
    torch.testing.assert_close(schedule.log_snr_of_sigma(noise / signal), log_snr)
    middle = torch.tensor([1e-6, 0.3, 0.9], dtype=torch.float64)
    torch.testing.assert_close(torch.sigmoid(schedule.log_snr_of_gamma(middle)), middle)


def test_epsilon_target_is_the_noise_and_v_target_is_v() -> None:
    x0, noise = images(seed=1), images(seed=2)
    log_snr = torch.tensor([-10.0, -1.0, 3.0, 13.0], dtype=torch.float64)
    signal, strength = (s.float()[:, None, None, None] for s in schedule.signal_and_noise(log_snr))
    torch.testing.assert_close(targets(OBJECTIVES["epsilon"], x0, noise, log_snr), noise)
    torch.testing.assert_close(targets(OBJECTIVES["v"], x0, noise, log_snr), signal * noise - strength * x0)
    torch.testing.assert_close(targets(OBJECTIVES["x0"], x0, noise, log_snr), x0)
    torch.testing.assert_close(targets(OBJECTIVES["regression"], x0, noise, 0 * log_snr), x0)


def test_edm_is_karras_table_1() -> None:
    """Against c_skip, c_out, c_in and the weight λ(σ), with the state x0 + σ n, as that paper writes them."""
    x0, n = images(seed=1).double(), images(seed=2).double()
    sigma = torch.tensor([0.01, 0.5, 3.0, 80.0], dtype=torch.float64)
    log_snr = schedule.log_snr_of_sigma(sigma)
    y = x0 + sigma[:, None, None, None] * n
    total = (sigma**2 + 0.25)[:, None, None, None]
    s = sigma[:, None, None, None]
    f_target = (x0 - 0.25 / total * y) / (s * 0.5 / total.sqrt())
    torch.testing.assert_close(
        targets(OBJECTIVES["edm"], x0, n, log_snr), f_target.float(), check_dtype=False, rtol=1e-4, atol=1e-4
    )
    scales = OBJECTIVES["edm"].scales(log_snr)
    signal, _ = schedule.signal_and_noise(log_snr)
    torch.testing.assert_close(scales.skip * signal, 0.25 / total.flatten())
    torch.testing.assert_close(scales.out, (s * 0.5 / total.sqrt()).flatten())
    torch.testing.assert_close(scales.inside * signal, 1 / total.sqrt().flatten())


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_network_has_no_loss_and_returns_the_image(kind: str) -> None:
    x0, condition, noise, mask = images(seed=1), images(seed=2), torch.randn(4, 3, 8, 8), hole()
    u = stratified(4, 0.5)
    objective = OBJECTIVES[kind]
    log_snr = objective.draw(u)
    perfect = Oracle(targets(objective, x0, noise, log_snr))
    per_image = loss(kind, "l2", perfect, Batch(x0, condition, mask, noise, u))
    torch.testing.assert_close(per_image, torch.zeros(4))
    for i in range(4):
        signal, strength = (s.float().item() for s in schedule.signal_and_noise(log_snr[i]))
        one = Oracle(perfect.answer[i : i + 1])
        denoiser = Denoiser(one, kind, condition[i : i + 1], mask[i : i + 1])
        estimate = denoiser(signal * x0[i : i + 1] + strength * noise[i : i + 1], log_snr[i].item())
        inside = mask[i].expand(3, 8, 8)
        tolerance = 1e-5 * max(1.0, strength / signal)
        torch.testing.assert_close(estimate[0][inside], x0[i][inside], atol=tolerance, rtol=0)
        assert torch.equal(estimate[0][~inside], condition[i][~inside])
        torch.testing.assert_close(one.asked[0][0][0], perfect.asked[0][0][i])
        torch.testing.assert_close(one.asked[0][1][0], perfect.asked[0][1][i])


def test_known_pixels_stay_clean_in_the_networks_input() -> None:
    y, condition, mask = images(seed=1), images(seed=2), hole()
    seen = network_input(y, condition, mask, torch.full((4,), 2.0, dtype=torch.float64))
    assert torch.equal(seen[:, :3], condition)
    known = ~mask.expand(4, 3, 8, 8)
    assert torch.equal(seen[:, 3:][known], condition[known])
    assert torch.equal(seen[:, 3:][~known], 2 * y[~known])


def test_regression_sees_no_noise_and_one_level() -> None:
    network = Oracle(torch.zeros(4, 3, 8, 8))
    everywhere = torch.ones(4, 1, 8, 8, dtype=torch.bool)
    for seed in (1, 2):
        noise = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        loss("regression", "l2", network, Batch(images(), images(seed=3), everywhere, noise, stratified(4, 0.1 * seed)))
    (first, level), (second, other) = network.asked
    assert torch.equal(first, second)
    assert torch.equal(first[:, 3:], torch.zeros(4, 3, 8, 8))
    assert torch.equal(level, other)
    assert len(level.unique()) == 1


def test_loss_is_per_pixel_of_the_hole() -> None:
    """A constant error gives the same loss whatever the hole's size; errors outside do not count."""
    mask = hole()
    error = torch.where(mask, 3.0, 100.0).expand(4, 3, 8, 8)
    torch.testing.assert_close(masked_mean(error, mask), torch.full((4,), 3.0))


def test_l1_and_l2() -> None:
    x0 = torch.full((1, 3, 8, 8), 0.5)
    batch = Batch(
        x0, x0, torch.ones(1, 1, 8, 8, dtype=torch.bool), torch.zeros_like(x0), torch.tensor([0.5], dtype=torch.float64)
    )
    off = Oracle(x0 + 0.2)
    assert loss("x0", "l1", off, batch).item() == pytest.approx(0.2)
    assert loss("x0", "l2", off, batch).item() == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("kind", "published"),
    [
        ("epsilon", lambda snr: np.minimum(snr, 5) / snr),
        ("v", lambda snr: np.minimum(snr, 5) / (snr + 1)),
        ("x0", lambda snr: np.minimum(snr, 5)),
        # λ(σ) = min(1/σ², 5), in terms of x0, and c_out of Karras et al., Table 1
        ("edm", lambda snr: np.minimum(snr, 5) * 0.25 / snr / (1 / snr + 0.25)),
    ],
)
def test_min_snr_weights_are_the_published_ones(kind: str, published: Callable[[np.ndarray], np.ndarray]) -> None:
    log_snr = torch.linspace(-10, 13, 47, dtype=torch.float64)
    weights = WEIGHTINGS["min-snr"](OBJECTIVES[kind], log_snr)
    np.testing.assert_allclose(weights, published(np.exp(log_snr.numpy())), rtol=1e-9)


@pytest.mark.parametrize("kind", ["edm", "edm-plain", "epsilon", "v", "x0"])
@pytest.mark.parametrize("whole", [False, True])
def test_min_snr_is_a_weight_on_the_image(kind: str, whole: bool) -> None:
    """The loss is min(SNR, 5) times the squared error of the estimate, both in the units that the network sees."""
    x0, condition, noise = images(seed=1), images(seed=2), images(seed=3)
    mask, u = torch.ones(4, 1, 8, 8, dtype=torch.bool) if whole else hole(), stratified(4, 0.5)
    network = Oracle(images(seed=4))
    found = loss(kind, "l2", network, Batch(x0, condition, mask, noise, u), "min-snr")
    log_snr = OBJECTIVES[kind].draw(u)
    skip, out, _ = OBJECTIVES[kind].scales(log_snr)
    signal, strength = schedule.signal_and_noise(log_snr)
    r = frame(kind, condition, mask).inward(x0).double()
    y = signal[:, None, None, None] * r + strength[:, None, None, None] * noise
    estimate = skip[:, None, None, None] * y + out[:, None, None, None] * network.answer
    expected = log_snr.exp().clamp(max=5) * masked_mean((estimate - r) ** 2, mask)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)


def test_gamma_is_drawn_as_in_the_paper() -> None:
    """t uniform, γ uniform between neighbors: the density of γ is piecewise constant, and its quantiles are the γ_t."""
    gammas = schedule.training_gammas()
    draw = OBJECTIVES["epsilon"].draw
    steps = torch.arange(1999, dtype=torch.float64)
    torch.testing.assert_close(torch.sigmoid(draw(steps / 1999)), gammas[:-1])
    torch.testing.assert_close(torch.sigmoid(draw((steps + 0.25) / 1999)), 0.75 * gammas[:-1] + 0.25 * gammas[1:])


def test_edm_levels_are_lognormal() -> None:
    log_sigma = -OBJECTIVES["edm"].draw(stratified(100_000, 0.5)) / 2
    assert log_sigma.mean().item() == pytest.approx(-0.4, abs=1e-3)
    assert log_sigma.std().item() == pytest.approx(1.4, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_sampling_range_was_trained_on(kind: str) -> None:
    levels = OBJECTIVES[kind].draw(stratified(1_000_000, 0.5))
    low, high = level_range(kind)
    assert levels.min().item() <= low + 0.05
    assert levels.max().item() >= high - 0.05
    assert torch.isfinite(levels).all()


def test_stratified_draws_are_uniform_and_even() -> None:
    for offset in (0.0, 0.3, 0.999):
        u = stratified(8, offset)
        assert torch.equal((u * 8).long(), torch.arange(8))
    assert u.dtype == torch.float64


def test_the_network_can_tell_high_noise_levels_apart() -> None:
    """Upstream's embedding of γ itself moves by 0.0014 between the first two."""
    gammas = torch.tensor([4.4e-5, 1e-3, 0.1, 0.5, 0.9, 0.999, 1 - 1e-6], dtype=torch.float64)
    level = NoiseLevel("log-snr", 32)
    embedded = level(schedule.log_snr_of_gamma(gammas))
    distances = torch.cdist(embedded, embedded) + 10 * torch.eye(len(gammas))
    assert distances.min() > 0.25
    near = level(schedule.log_snr_of_sigma(torch.tensor([1.0, 1.0001], dtype=torch.float64)))
    assert (near[0] - near[1]).norm() < 0.01


def test_levels_outside_the_trained_range_are_clamped() -> None:
    network = Oracle(torch.zeros(1, 3, 8, 8))
    denoiser = Denoiser(network, "epsilon", images(1), torch.ones(1, 1, 8, 8, dtype=torch.bool))
    assert torch.isfinite(
        denoiser(torch.randn(1, 3, 8, 8), schedule.log_snr_of_gamma(torch.tensor(6.6e-21)).item())
    ).all()
    lowest = torch.tensor([level_range("epsilon")[0]], dtype=torch.float64)
    assert torch.equal(network.asked[0][1], lowest)


@pytest.mark.parametrize("kind", KINDS)
def test_the_estimate_is_clipped(kind: str) -> None:
    denoiser = Denoiser(
        Oracle(torch.full((1, 3, 8, 8), 9.0)), kind, images(1), torch.ones(1, 1, 8, 8, dtype=torch.bool)
    )
    estimate = denoiser(torch.full((1, 3, 8, 8), -9.0), 0.0)
    assert estimate.abs().max() <= 1


def test_input_and_target_of_edm_have_unit_variance() -> None:
    x0 = 0.5 * torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    sigma = torch.tensor([0.02, 0.3, 2.0, 80.0], dtype=torch.float64)
    log_snr = schedule.log_snr_of_sigma(sigma)
    target = targets(OBJECTIVES["edm"], x0, noise, log_snr)
    np.testing.assert_allclose(target.std(dim=(1, 2, 3)), 1, rtol=0.03)
    signal, strength = (s.float()[:, None, None, None] for s in schedule.signal_and_noise(log_snr))
    inside = OBJECTIVES["edm"].scales(log_snr).inside.float()[:, None, None, None]
    np.testing.assert_allclose((inside * (signal * x0 + strength * noise)).std(dim=(1, 2, 3)), 1, rtol=0.03)


def test_edm_starts_from_a_whole_degraded_image_and_from_zero_in_a_hole() -> None:
    whole, x0, condition = torch.ones(4, 1, 8, 8, dtype=torch.bool), images(seed=1), images(seed=2)
    framed = frame("edm", condition, whole)
    torch.testing.assert_close(framed.inward(x0), (x0 - condition) / 0.4)
    torch.testing.assert_close(framed.outward(framed.inward(x0)), x0)
    for kind, mask in (
        ("edm", hole()),
        ("edm-plain", whole),
        ("epsilon", whole),
        ("x0", whole),
        ("v", whole),
        ("regression", whole),
    ):
        assert torch.equal(frame(kind, condition, mask).inward(x0), x0)


def test_an_untrained_edm_network_returns_the_degraded_image() -> None:
    """At high noise there is no better guess than the condition; upstream's networks start from nothing."""
    whole, condition = torch.ones(4, 1, 8, 8, dtype=torch.bool), images(seed=2)
    denoiser = Denoiser(Oracle(torch.zeros(4, 3, 8, 8)), "edm", condition, whole)
    low = level_range("edm")[0]
    estimate = denoiser(torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)), low)
    torch.testing.assert_close(estimate, condition, atol=0.05, rtol=0)


def test_the_denoiser_of_a_whole_image_inverts_the_loss_with_its_frame() -> None:
    """Where the network answers the target of the loss, the denoiser answers x0, at the level seen from outside."""
    x0, condition, noise = (
        images(seed=1),
        images(seed=2),
        torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)),
    )
    whole, u = torch.ones(4, 1, 8, 8, dtype=torch.bool), stratified(4, 0.5)
    framed, inner = frame("edm", condition, whole), OBJECTIVES["edm"].draw(u)
    perfect = Oracle(targets(OBJECTIVES["edm"], framed.inward(x0), noise, inner))
    torch.testing.assert_close(loss("edm", "l2", perfect, Batch(x0, condition, whole, noise, u)), torch.zeros(4))
    for i in range(4):
        level = inner[i] - 2 * math.log(0.4)  # σ = 0.4 σ'
        signal, strength = (s.float().item() for s in schedule.signal_and_noise(level))
        one = Oracle(perfect.answer[i : i + 1])
        y = signal * x0[i : i + 1] + strength * noise[i : i + 1]
        estimate = Denoiser(one, "edm", condition[i : i + 1], whole[i : i + 1])(y, level.item())
        torch.testing.assert_close(estimate, x0[i : i + 1], atol=1e-5 * max(1.0, strength / signal), rtol=0)
        torch.testing.assert_close(one.asked[0][0][0], perfect.asked[0][0][i], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(one.asked[0][1][0], perfect.asked[0][1][i])
