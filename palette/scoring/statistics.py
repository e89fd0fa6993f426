"""Distances between sets of images, the Inception Score, and 95 % intervals. NumPy only.

A mean over images gets a bootstrap interval. A statistic of the whole set gets a jackknife interval: resampling with repetition would
bias a distance between sets, leaving images out does not.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from palette.data.randomness import generator

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

GROUPS = 20
"""Groups of images that the jackknife leaves out in turn."""
Z95 = 1.959964
"""Half-width of a 95 % interval in standard errors."""


# --------------------------------------------------------------------------------------- statistics of a set


def frechet_distance(a: Floats, b: Floats) -> float:
    """Fréchet distance between Gaussians with the means and covariances of features [N,D] and [M,D] (Heusel et al. 2017, eq. 6).

    |μa-μb|² + Tr(Ca + Cb - 2 (Ca Cb)^½). With C = RᵀR the last trace is the sum of the singular values of Ra Rbᵀ: no matrix square
    root is taken, and nothing needs to be of full rank.
    """
    root_a, root_b = _root_of_covariance(a), _root_of_covariance(b)
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.sum(root_a**2) + np.sum(root_b**2) - 2 * overlap
    return max(float(distance), 0.0)


def _root_of_covariance(features: Floats) -> Floats:
    """R [min(N,D),D] with RᵀR the unbiased covariance of features [N,D]."""
    root: Floats = np.linalg.qr(features - features.mean(0), mode="r") / np.sqrt(len(features) - 1)
    return root


def kernel_distance(a: Floats, b: Floats) -> float:
    """KID (Bińkowski et al. 2018): unbiased squared MMD of features [N,D] and [N,D] under the kernel (x·y/D + 1)³, over all images.

    Clean-fid's `kernel_distance` for one subset of all images; its mean over subsets of 1000 estimates the same, less exactly.
    """
    return kernel_distances(a, b, [])[0]


def kernel_distances(a: Floats, b: Floats, left_out: list[Indices]) -> list[float]:
    """KID over all images, then without each group of `left_out`: kernels are summed once, by pairs of groups."""
    groups = left_out or np.array_split(np.arange(len(a)), min(GROUPS, len(a)))
    within, across = (np.empty((len(groups), len(groups))) for _ in range(2))
    for g, rows in enumerate(groups):
        for h, columns in enumerate(groups):
            within[g, h] = _kernel(a[rows], a[columns]).sum() + _kernel(b[rows], b[columns]).sum()
            across[g, h] = _kernel(a[rows], b[columns]).sum()
        within[g, g] -= _diagonal(a[rows]) + _diagonal(b[rows])
    sizes = np.array([len(group) for group in groups])
    kept = np.vstack([np.ones(len(groups)), 1 - np.eye(len(groups))[: len(left_out)]])
    return [
        float(u @ within @ u / (m * (m - 1)) - 2 * (u @ across @ u) / m**2)
        for u, m in zip(kept, kept @ sizes, strict=True)
    ]


def _kernel(x: Floats, y: Floats) -> Floats:
    """(x·y/D + 1)³ of features [N,D] and [M,D]: [N,M]."""
    cubed: Floats = (x @ y.T / x.shape[1] + 1) ** 3
    return cubed


def _diagonal(x: Floats) -> float:
    """Σ (x·x/D + 1)³ over features [N,D]."""
    return float(((np.sum(x**2, 1) / x.shape[1] + 1) ** 3).sum())


def inception_score(probabilities: Floats, splits: int) -> float:
    """exp E KL(p(y|x) ‖ p(y)) (Salimans et al. 2016), mean over `splits` parts of class probabilities [N,K], drawn once at random.

    At most N parts; with fewer images per part than classes it is far too low.
    """
    shuffled = probabilities[generator(0, "inception-score").permutation(len(probabilities))]
    return float(
        np.mean([_exponential_information(part) for part in np.array_split(shuffled, min(splits, len(shuffled)))])
    )


def _exponential_information(p: Floats) -> float:
    """exp of the mean KL divergence of class probabilities [N,K] from their mean; 0 log 0 = 0."""
    tiny = np.finfo(np.float64).tiny
    divergence = np.sum(p * (np.log(np.maximum(p, tiny)) - np.log(np.maximum(p.mean(0), tiny))), 1)
    return float(np.exp(divergence.mean()))


# ------------------------------------------------------------------------------------------------ intervals


def jackknife_groups(count: int) -> list[Indices]:
    """GROUPS random groups of about equal size, which hold each of `count` images once; none if the groups would be too small."""
    if count < 2 * GROUPS:
        return []
    return [np.sort(group) for group in np.array_split(generator(0, "jackknife").permutation(count), GROUPS)]


def leave_out(statistic: Callable[[Indices], float], count: int, left_out: list[Indices]) -> list[float]:
    """A statistic over all of `count` images, then without each group."""
    everything = np.arange(count)
    return [statistic(everything)] + [statistic(np.setdiff1d(everything, group)) for group in left_out]


def jackknife(values: list[float]) -> tuple[float, float] | None:
    """The 95 % interval of `values[0]` (all images) from `values[1:]` (without each group): ± 1.96 standard errors, not below 0.

    Standard error² = (G-1)/G Σ (θg - mean θ)² (Efron & Stein 1981, for groups). None without groups.
    """
    value, without = values[0], np.array(values[1:])
    if not len(without):
        return None
    error = float(np.sqrt((len(without) - 1) / len(without) * np.sum((without - without.mean()) ** 2)))
    return max(value - Z95 * error, min(value, 0.0)), value + Z95 * error


def bootstrap(values: Floats, resamples: int) -> tuple[float, float] | None:
    """The percentile 95 % interval of the mean of `values` [N], seeded. None without resamples, or if a value is infinite."""
    if not resamples or not np.isfinite(values).all():
        return None
    rng = generator(0, "bootstrap")
    means = np.array([values[rng.integers(len(values), size=len(values))].mean() for _ in range(resamples)])
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
