"""Kernel distance, Inception Score, precision, recall and intervals, against clean-fid, torch-fidelity and independent formulas."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from cleanfid import fid
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_prc import calculate_precision_recall_full

from palette.scoring import statistics
from palette.scoring.metrics import METRICS, Measured, Settings
from palette.scoring.statistics import (
    GROUPS,
    bootstrap,
    inception_score,
    inception_scores,
    inside,
    jackknife,
    jackknife_groups,
    kernel_distance,
    kernel_sums,
)


def features(seed: int, count: int, dimensions: int = 16) -> npt.NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, dimensions)) @ rng.standard_normal((dimensions, dimensions)) + rng.random(
        dimensions
    )


def test_kernel_distance_equals_clean_fids_on_all_images() -> None:
    a, b = features(0, 90), features(1, 90)
    assert kernel_distance(a, b) == pytest.approx(
        fid.kernel_distance(a, b, num_subsets=1, max_subset_size=90), rel=1e-9
    )


def test_kernel_distance_equals_clean_fids_given_the_same_subsets(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = features(0, 90), features(1, 90)
    chosen = [np.random.default_rng(i).permutation(90)[:30] for i in range(4)]
    draws = iter(chosen)
    monkeypatch.setattr(np.random, "choice", lambda *_, **__: next(draws))
    expected = fid.kernel_distance(a, b, num_subsets=2, max_subset_size=30)
    ours = [kernel_distance(a[chosen[i + 1]], b[chosen[i]]) for i in (0, 2)]
    assert np.mean(ours) == pytest.approx(expected, rel=1e-9)


def left_out(statistic: Callable[[npt.NDArray[np.bool_]], float], count: int) -> list[float]:
    """A statistic of all images, then without each group."""
    groups = jackknife_groups(count)
    assert groups is not None
    return [statistic(np.ones(count, bool))] + [statistic(groups != group) for group in range(GROUPS)]


def kernels(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(x·y/D + 1)³ of each pair of rows [N,M]."""
    return (np.einsum("id,jd->ij", a, b) / a.shape[1] + 1) ** 3


def paired_distance(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """The mean of k(a,a') + k(b,b') - k(a,b') - k(a',b) over pairs of different items: 0 for equal sets, term by term."""
    summands = kernels(a, a) + kernels(b, b) - kernels(a, b) - kernels(b, a)
    return float(summands[~np.eye(len(a), dtype=bool)].mean())


def test_kernel_distance_of_pairs_leaves_out_each_outputs_own_original() -> None:
    a, b = features(0, 90), features(1, 90)
    assert kernel_sums(a, b, paired=True).distance == pytest.approx(paired_distance(a, b), rel=1e-9)
    assert kernel_sums(a, a, paired=True).distance == pytest.approx(0, abs=1e-9)


def interaction(sums: npt.NDArray[np.float64]) -> float:
    """The residual sum of squares of an analysis of variance with two factors, by least squares."""
    rows, columns = np.indices(sums.shape).reshape(2, -1)
    design = np.hstack([np.eye(len(sums))[rows], np.eye(sums.shape[1])[columns]])
    return float(np.sum((sums.ravel() - design @ np.linalg.lstsq(design, sums.ravel(), rcond=None)[0]) ** 2))


@pytest.mark.parametrize("paired", [True, False])
def test_standard_error_of_a_kernel_distance_is_the_jackknifes_minus_the_double_count(paired: bool) -> None:
    a = features(0, 100)
    b = features(1, 100 if paired else 140)
    groups = [np.eye(GROUPS)[jackknife_groups(len(x))] for x in (a, b)]

    def variance(statistic: Callable[[npt.NDArray[np.bool_]], float], count: int) -> float:
        without = left_out(statistic, count)[1:]
        return (GROUPS - 1) / GROUPS * sum((value - np.mean(without)) ** 2 for value in without)

    def squares(x: int, y: int, matrix: npt.NDArray[np.float64], pairs: int) -> float:
        return interaction(groups[x].T @ matrix @ groups[y] / pairs)

    inside = [kernels(x, x) * ~np.eye(len(x), dtype=bool) for x in (a, b)]
    if paired:
        everything = inside[0] + inside[1] - (kernels(a, b) + kernels(b, a)) * ~np.eye(100, dtype=bool)
        total = variance(lambda kept: paired_distance(a[kept], b[kept]), 100)
        twice = 2 * squares(0, 0, everything, 100 * 99)
    else:
        total = variance(lambda kept: kernel_distance(a[kept], b), 100)
        total += variance(lambda kept: kernel_distance(a, b[kept]), 140)
        twice = 2 * squares(0, 0, inside[0], 100 * 99) + 2 * squares(1, 1, inside[1], 140 * 139)
        twice += 4 * squares(0, 1, kernels(a, b), 100 * 140)
    assert 0 < twice < total / 2
    assert kernel_sums(a, b, paired).standard_error == pytest.approx(np.sqrt(total - twice), rel=1e-9)


def mean_kernel(dimensions: int, shift: float, other: float) -> float:
    """E (x·y/D + 1)³ of independent normal vectors around `shift` and `other` in each dimension."""
    product, square = dimensions * shift * other, dimensions * shift**2
    spread = dimensions * other**2 + dimensions
    first = product
    second = product**2 + square + spread
    third = product**3 + 3 * product * square + 3 * product * (spread + 2)
    return third / dimensions**3 + 3 * second / dimensions**2 + 3 * first / dimensions + 1


@pytest.mark.parametrize("shift", [0.0, 0.3])
@pytest.mark.parametrize("paired", [True, False])
def test_kernel_distance_is_unbiased_and_its_interval_covers_the_true_value(paired: bool, shift: float) -> None:
    """Over draws of outputs and of what they are compared with; paired ones resemble each other."""
    dimensions, draws, rng = 32, 300, np.random.default_rng(0)
    truth = (
        mean_kernel(dimensions, shift, shift) + mean_kernel(dimensions, 0, 0) - 2 * mean_kernel(dimensions, shift, 0)
    )
    found, covered = [], []
    for _ in range(draws):
        originals = rng.standard_normal((100 if paired else 150, dimensions))
        outputs = rng.standard_normal((100, dimensions))
        if paired:
            outputs = 0.8 * originals + 0.6 * outputs
        own, against = ({"item": np.arange(len(x)), "features": x} for x in (outputs + shift, originals))
        score = METRICS["kid"].function(Measured(own, against, None if paired else against), Settings())
        assert score is not None
        assert score.interval is not None
        found.append(score.value)
        covered.append(score.interval[0] <= truth <= score.interval[1])
    assert abs(np.mean(found) - truth) < 2 * np.std(found) / np.sqrt(draws)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_blocks_change_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, p = features(0, 90), features(1, 90), np.random.default_rng(0).dirichlet(np.ones(5), 90)
    groups = jackknife_groups(90)

    def everything() -> npt.NDArray[np.float64]:
        sums = kernel_sums(a, b, paired=True)
        scores = [sums.distance, sums.standard_error, *inception_scores(p, 3, groups)]
        return np.array([*scores, *inside(a, b), *inside(b, a)], float)

    whole = everything()
    monkeypatch.setattr(statistics, "BLOCK", 7)
    np.testing.assert_allclose(everything(), whole, rtol=1e-9)


def test_precision_and_recall_equal_torch_fidelitys() -> None:
    a, b = features(0, 200, 8), 0.8 * features(0, 150, 8) + 0.3
    precision, recall = calculate_precision_recall_full(torch.from_numpy(a), torch.from_numpy(b), neighborhood=3)
    assert 0.1 < precision < 0.99
    assert inside(a, b).mean() == pytest.approx(precision, rel=1e-5)
    assert inside(b, a).mean() == pytest.approx(recall, rel=1e-5)


def test_equal_sets_have_full_precision() -> None:
    a = features(0, 50)
    assert inside(a, a).all()
    assert not inside(a + 1000, a).any()


def test_inception_score_equals_torch_fidelitys() -> None:
    logits = torch.from_numpy(np.random.default_rng(0).standard_normal((60, 9)) * 2)
    expected = isc_features_to_metric(logits, splits=1)["inception_score_mean"]
    assert inception_score(logits.softmax(1).numpy(), splits=1) == pytest.approx(expected, rel=1e-9)


def test_inception_scores_without_groups_are_those_of_the_remaining_images() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(5), 100)
    expected = left_out(lambda kept: inception_score(p[kept], splits=1), 100)
    np.testing.assert_allclose(inception_scores(p, 1, jackknife_groups(100)), expected, rtol=1e-9)


def test_inception_score_equals_an_independent_formula() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(5), 60)
    entropy = -(p * np.log(p)).sum(1).mean()
    marginal = -(p.mean(0) * np.log(p.mean(0))).sum()
    assert inception_score(p, splits=1) == pytest.approx(np.exp(marginal - entropy))


def test_inception_score_of_certain_and_varied_predictions_is_the_number_of_classes() -> None:
    assert inception_score(np.eye(7).repeat(10, axis=0), splits=1) == pytest.approx(7)


def test_inception_score_does_not_depend_on_the_order_of_classes_in_the_test_set() -> None:
    sorted_by_class = np.eye(4).repeat(50, axis=0)
    assert inception_score(sorted_by_class, splits=5) == pytest.approx(4, rel=0.1)


def test_jackknife_groups_are_of_about_equal_size() -> None:
    groups = jackknife_groups(103)
    assert groups is not None
    assert set(np.bincount(groups)) == {5, 6}
    assert len(np.bincount(groups)) == GROUPS


def test_jackknife_of_a_mean_is_the_normal_interval() -> None:
    values = np.random.default_rng(0).standard_normal(4000) + 10
    interval = jackknife(left_out(lambda kept: float(values[kept].mean()), 4000))
    assert interval is not None
    assert interval[1] - interval[0] == pytest.approx(2 * 1.96 / np.sqrt(4000), rel=0.5)
    assert sum(interval) / 2 == pytest.approx(values.mean())


def test_few_images_get_no_jackknife_interval() -> None:
    assert jackknife_groups(30) is None
    assert jackknife([1.0]) is None


def test_bootstrap_is_seeded_and_covers_the_mean() -> None:
    values = np.random.default_rng(0).standard_normal(300)
    low, high = bootstrap(values, 200) or (0, 0)
    assert low < values.mean() < high
    assert (low, high) == bootstrap(values, 200)


def test_infinite_values_and_no_resamples_have_no_interval() -> None:
    assert bootstrap(np.array([1.0, np.inf]), 100) is None
    assert bootstrap(np.array([1.0, 2.0]), 0) is None
