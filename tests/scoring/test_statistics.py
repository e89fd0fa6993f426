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
from palette.scoring.statistics import (
    GROUPS,
    bootstrap,
    inception_score,
    inception_scores,
    inside,
    jackknife,
    jackknife_groups,
    kernel_distance,
    kernel_distances,
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


@pytest.mark.parametrize("paired", [True, False])
def test_kernel_distances_without_groups_equal_those_of_the_remaining_images(paired: bool) -> None:
    a, b = features(0, 100), features(1, 100 if paired else 70)
    expected = left_out(lambda kept: kernel_distance(a[kept], b[kept] if paired else b), 100)
    np.testing.assert_allclose(kernel_distances(a, b, jackknife_groups(100), paired), expected, rtol=1e-9)


def test_blocks_change_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, p = features(0, 90), features(1, 90), np.random.default_rng(0).dirichlet(np.ones(5), 90)
    groups = jackknife_groups(90)

    def everything() -> npt.NDArray[np.float64]:
        scores = [*kernel_distances(a, b, groups, paired=True), *inception_scores(p, 3, groups)]
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


def test_inception_score_of_sure_and_varied_predictions_is_the_number_of_classes() -> None:
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
