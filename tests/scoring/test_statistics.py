"""Distances, the Inception Score and intervals, against clean-fid and independent formulas."""

import numpy as np
import numpy.typing as npt
import pytest
from cleanfid import fid

from palette.scoring.statistics import (
    GROUPS,
    bootstrap,
    frechet_distance,
    inception_score,
    jackknife,
    jackknife_groups,
    kernel_distance,
    kernel_distances,
    leave_out,
)


def features(seed: int, count: int, dimensions: int = 16) -> npt.NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, dimensions)) @ rng.standard_normal((dimensions, dimensions)) + rng.random(
        dimensions
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("count", "dimensions"), [(300, 16), (200, 64), (80, 64)])
def test_frechet_distance_equals_clean_fids(count: int, dimensions: int) -> None:
    a, b = features(0, count, dimensions), features(1, count + 50, dimensions)
    assert frechet_distance(a, b) == pytest.approx(fid.fid_from_feats(a, b), rel=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_frechet_distance_equals_clean_fids_where_covariances_lack_rank() -> None:
    a, b = features(0, 30, 64), features(1, 40, 64)
    assert frechet_distance(a, b) == pytest.approx(fid.fid_from_feats(a, b), rel=1e-5)


def test_frechet_distance_of_one_dimension_is_that_of_two_normal_distributions() -> None:
    a, b = features(0, 500, 1), features(1, 400, 1)
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected)


def test_frechet_distance_of_equal_sets_is_zero() -> None:
    a = features(0, 100)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-10)


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


def test_kernel_distances_without_groups_equal_those_of_the_remaining_images() -> None:
    a, b = features(0, 100), features(1, 100)
    groups = jackknife_groups(100)
    expected = leave_out(lambda kept: kernel_distance(a[kept], b[kept]), 100, groups)
    np.testing.assert_allclose(kernel_distances(a, b, groups), expected, rtol=1e-9)


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


def test_jackknife_groups_hold_each_image_once() -> None:
    groups = jackknife_groups(103)
    assert len(groups) == GROUPS
    assert sorted(np.concatenate(groups)) == list(range(103))


def test_jackknife_of_a_mean_is_the_normal_interval() -> None:
    values = np.random.default_rng(0).standard_normal(4000) + 10
    interval = jackknife(leave_out(lambda kept: float(values[kept].mean()), 4000, jackknife_groups(4000)))
    assert interval is not None
    assert interval[1] - interval[0] == pytest.approx(2 * 1.96 / np.sqrt(4000), rel=0.5)
    assert sum(interval) / 2 == pytest.approx(values.mean())


def test_few_images_get_no_jackknife_interval() -> None:
    assert jackknife_groups(30) == []
    assert jackknife([1.0]) is None


def test_bootstrap_is_seeded_and_covers_the_mean() -> None:
    values = np.random.default_rng(0).standard_normal(300)
    low, high = bootstrap(values, 200) or (0, 0)
    assert low < values.mean() < high
    assert (low, high) == bootstrap(values, 200)


def test_infinite_values_and_no_resamples_have_no_interval() -> None:
    assert bootstrap(np.array([1.0, np.inf]), 100) is None
    assert bootstrap(np.array([1.0, 2.0]), 0) is None
