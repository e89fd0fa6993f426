"""The Fréchet distance and its standard error, against clean-fid, closed forms, finite differences and repeated draws."""

import numpy as np
import numpy.typing as npt
import pytest
from cleanfid import fid
from hypothesis import given, settings
from hypothesis import strategies as st

from palette.scoring import frechet
from palette.scoring.frechet import distance, frechet_distance, gaussian, standard_error
from tests.scoring.test_statistics import features


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("count", "dimensions", "tolerance"), [(300, 16, 1e-6), (200, 64, 1e-6), (80, 64, 1e-6), (30, 64, 1e-5)]
)
def test_equals_clean_fids(count: int, dimensions: int, tolerance: float) -> None:
    a, b = features(0, count, dimensions), features(1, count + 10, dimensions)
    assert frechet_distance(a, b) == pytest.approx(fid.fid_from_feats(a, b), rel=tolerance)


def test_in_one_dimension_it_is_that_of_two_normal_distributions() -> None:
    a, b = features(0, 500, 1), features(1, 400, 1)
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected)


@pytest.mark.parametrize(("count", "dimensions"), [(100, 16), (20, 64)])
def test_of_equal_sets_is_zero(count: int, dimensions: int) -> None:
    a = features(0, count, dimensions)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8)


@settings(deadline=None, max_examples=30)
@given(st.integers(3, 60), st.integers(1, 12), st.integers(1, 20), st.floats(-1e3, 1e3))
def test_blocks_give_mean_and_covariance(count: int, dimensions: int, block: int, offset: float) -> None:
    rows = features(0, count, dimensions) + offset
    before, frechet.BLOCK = frechet.BLOCK, block
    try:
        found = gaussian(rows)
    finally:
        frechet.BLOCK = before
    np.testing.assert_allclose(found.mean, rows.mean(0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        found.root.T @ found.root, np.cov(rows, rowvar=False).reshape(dimensions, -1), rtol=1e-6, atol=1e-8
    )


def test_blocks_change_the_distance_by_less_than_a_billionth(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = features(0, 300, 32), features(1, 250, 32)
    whole = frechet_distance(a, b)
    monkeypatch.setattr(frechet, "BLOCK", 37)
    assert frechet_distance(a, b) == pytest.approx(whole, rel=1e-9)


def weighted(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], item: int, weight: float) -> float:
    """The distance with one image of `a` counted `weight` times, from covariances; the estimator's N/(N-1) stays."""
    w = np.ones(len(a))
    w[item] = weight
    w /= w.sum()
    mean = w @ a
    covariance = (a - mean).T @ (w[:, None] * (a - mean)) * len(a) / (len(a) - 1)
    return float(fid.frechet_distance(mean, covariance, b.mean(0), np.cov(b, rowvar=False)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("count", [40, 8])
def test_influence_is_the_derivative_in_an_images_weight(count: int) -> None:
    a, b = features(0, count, 6), features(1, 30, 6) + 0.5
    influence = distance(gaussian(a), gaussian(b)).influence(a)
    step = 1e-4
    for item in (0, 5):
        slope = (weighted(a, b, item, 1 + step) - weighted(a, b, item, 1 - step)) / (2 * step)
        assert influence[item] == pytest.approx(slope * count, rel=1e-3)
    swapped = distance(gaussian(b), gaussian(a)).influence(a, of_b=True)
    np.testing.assert_allclose(swapped, influence, rtol=1e-7)


@pytest.mark.parametrize(("count", "dimensions"), [(400, 16), (60, 64)])
def test_standard_error_is_the_spread_over_repeated_draws(count: int, dimensions: int) -> None:
    mix = (
        np.random.default_rng(9).standard_normal((dimensions, dimensions)) * np.exp(-np.arange(dimensions) / 5)[:, None]
    )
    values, errors = [], []
    for seed in range(40):
        rng = np.random.default_rng((seed, count))
        originals = np.maximum(rng.standard_normal((count, dimensions)) @ mix, 0)
        outputs = originals + 0.7 * rng.standard_normal((count, dimensions)) @ mix
        found = distance(gaussian(outputs), gaussian(originals))
        values.append(found.value)
        errors.append(standard_error(found, outputs, originals))
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.35)
