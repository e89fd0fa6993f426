"""Kernel distance, Inception Score, precision and recall of sets of images, and 95 % intervals. NumPy only.

Features may lie on disk: they are read block by block, and memory does not grow with the number of images.
A mean over images gets a bootstrap interval. A statistic of the whole set gets a jackknife interval: resampling with repetition would
bias a distance between sets, leaving images out does not.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from palette.data.randomness import generator

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.floating]
"""Features or probabilities [N,D], in memory or on disk."""
Indices = npt.NDArray[np.int64]

GROUPS = 20
"""Groups of images that the jackknife leaves out in turn."""
NEIGHBORS = 3
"""k of precision and recall."""
Z95 = 1.959964
"""Half-width of a 95 % interval in standard errors."""
BLOCK = 2048
"""Images in memory at a time."""


def _blocks(rows: Rows) -> Iterator[tuple[slice, Floats]]:
    """Rows [N,D] as float64, BLOCK at a time, and where they are."""
    for start in range(0, len(rows), BLOCK):
        place = slice(start, min(start + BLOCK, len(rows)))
        yield place, rows[place].astype(np.float64)


# ----------------------------------------------------------------------------------------- kernel distance


def kernel_distance(a: Rows, b: Rows) -> float:
    """KID (Bińkowski et al. 2018): unbiased squared MMD of features [N,D] and [M,D] under the kernel (x·y/D + 1)³, over all images.

    Clean-fid's `kernel_distance` for one subset of all images; its mean over subsets of 1000 estimates the same, less exactly.
    """
    return kernel_distances(a, b, None, paired=False)[0]


def kernel_distances(
    a: Rows, b: Rows, groups: Indices | None, paired: bool, within_b: Floats | None = None
) -> list[float]:
    """KID over all images, then without each group: kernels are summed once, by pairs of groups.

    groups: of each image of `a` the number of its group [N]; None without groups. paired: the images of `b` belong to those of `a`
    one by one and are left out with them; otherwise `b` stays whole. within_b: `kernels_within` of `b` and its groups, if known.
    """
    of_a = np.zeros(len(a), np.int64) if groups is None else groups
    of_b = of_a if paired else np.zeros(len(b), np.int64)
    within_a, across = kernels_within(a, of_a), _kernels(a, b, of_a, of_b)
    within_b = kernels_within(b, of_b) if within_b is None else within_b
    left_out = 0 if groups is None else len(within_a)
    kept_a = np.vstack([np.ones(len(within_a)), 1 - np.eye(len(within_a))[:left_out]])
    kept_b = kept_a if paired else np.ones((len(kept_a), len(within_b)))
    sizes_a, sizes_b = kept_a @ np.bincount(of_a), kept_b @ np.bincount(of_b)
    return [
        float(u @ within_a @ u / (n * (n - 1)) + v @ within_b @ v / (m * (m - 1)) - 2 * (u @ across @ v) / (n * m))
        for u, v, n, m in zip(kept_a, kept_b, sizes_a, sizes_b, strict=True)
    ]


def kernels_within(rows: Rows, groups: Indices) -> Floats:
    """Σ (x·y/D + 1)³ over the images [N,D] of each pair of groups, but for those of an image and itself: [G,G]."""
    sums = _kernels(rows, rows, groups, groups)
    sums[np.diag_indices(len(sums))] -= _diagonal(rows, groups, len(sums))
    return sums


def _kernels(x: Rows, y: Rows, of_x: Indices, of_y: Indices) -> Floats:
    """Σ (x·y/D + 1)³ over the images of each pair of groups: [G,H]."""
    sums = np.zeros((of_x.max() + 1, of_y.max() + 1))
    for rows, some in _blocks(x):
        for columns, others in _blocks(y):
            kernel = (some @ others.T / x.shape[1] + 1) ** 3
            sums += _members(of_x[rows], len(sums)) @ kernel @ _members(of_y[columns], sums.shape[1]).T
    return sums


def _members(group: Indices, groups: int) -> Floats:
    """1 where image i is in group g: [G,N]."""
    members: Floats = np.equal(group, np.arange(groups)[:, None]).astype(np.float64)
    return members


def _diagonal(x: Rows, group: Indices, groups: int) -> Floats:
    """Σ (x·x/D + 1)³ over the images of each group: [G]."""
    values = np.concatenate([(np.sum(some**2, 1) / x.shape[1] + 1) ** 3 for _, some in _blocks(x)])
    sums: Floats = np.bincount(group, values, groups).astype(np.float64)
    return sums


# ---------------------------------------------------------------------------------------- Inception Score


def inception_score(probabilities: Rows, splits: int) -> float:
    """exp E KL(p(y|x) ‖ p(y)) (Salimans et al. 2016), mean over `splits` parts of class probabilities [N,K], drawn once at random.

    At most N parts; with fewer images per part than classes it is far too low.
    """
    return inception_scores(probabilities, splits, None)[0]


def inception_scores(probabilities: Rows, splits: int, groups: Indices | None) -> list[float]:
    """The Inception Score over all images, then without each group; every image stays in its split.

    groups: of each image the number of its group [N]; None without groups.
    """
    count = len(probabilities)
    of_split = np.empty(count, np.int64)
    for split, members in enumerate(
        np.array_split(generator(0, "inception-score").permutation(count), min(splits, count))
    ):
        of_split[members] = split
    of_group = np.zeros(count, np.int64) if groups is None else groups
    cell = of_split * (of_group.max() + 1) + of_group
    shape = (of_split.max() + 1, of_group.max() + 1)
    sums, negentropy = np.zeros((shape[0] * shape[1], probabilities.shape[1])), np.zeros(shape[0] * shape[1])
    for rows, p in _blocks(probabilities):
        np.add.at(sums, cell[rows], p)
        np.add.at(negentropy, cell[rows], _negentropy(p))
    parts = (
        sums.reshape(*shape, -1),
        negentropy.reshape(shape),
        np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape),
    )
    whole = [part.sum(1) for part in parts]
    without = (
        []
        if groups is None
        else [[w - part[:, g] for w, part in zip(whole, parts, strict=True)] for g in range(shape[1])]
    )
    return [_score(*kept) for kept in [whole, *without]]


def _score(sums: Floats, negentropy: Floats, count: Floats) -> float:
    """exp of the mean KL divergence from the mean probabilities, mean over the splits that have images."""
    kept = count > 0
    mean = sums[kept] / count[kept, None]
    return float(np.exp(negentropy[kept] / count[kept] - _negentropy(mean)).mean())


def _negentropy(p: Floats) -> Floats:
    """Σ p log p of each row; 0 log 0 = 0, and rounding below 0 counts as 0."""
    summed: Floats = np.sum(p * np.log(np.maximum(p, np.finfo(np.float64).tiny)), axis=1)
    return summed


# ------------------------------------------------------------------------------------ precision and recall


def inside(x: Rows, manifold: Rows, radii: Floats | None = None) -> npt.NDArray[np.bool_]:
    """Which of the features x [N,D] lie in the manifold of other features [M,D] (Kynkäänniemi et al. 2019): [N].

    The manifold is the union of balls around those features, each as wide as the distance to its NEIGHBORS-th neighbor. With x the
    outputs and the manifold of the originals the mean is precision; the other way round it is recall. radii: the manifold's
    `neighborhoods`, if they are known.
    """
    radii = neighborhoods(manifold) if radii is None else radii
    found = np.zeros(len(x), bool)
    for rows, some in _blocks(x):
        for columns, others in _blocks(manifold):
            found[rows] |= (_squared(some, others) <= radii[columns]).any(1)
    return found


def neighborhoods(rows: Rows) -> Floats:
    """Squared distance of each feature [N,D] to its NEIGHBORS-th neighbor: [N]. Of fewer features, to the last."""
    nearest = min(NEIGHBORS + 1, len(rows))  # each is its own nearest
    radii = np.empty(len(rows))
    for place, some in _blocks(rows):
        best = np.full((len(some), 0), np.inf)
        for _, others in _blocks(rows):
            best = np.hstack([best, _squared(some, others)])
            best = np.partition(best, nearest - 1, axis=1)[:, :nearest] if best.shape[1] > nearest else best
        radii[place] = best.max(1)
    return radii


def _squared(x: Floats, y: Floats) -> Floats:
    """Squared distances of features [N,D] and [M,D]: [N,M]."""
    products = x @ y.T
    products *= -2
    products += np.sum(x**2, 1)[:, None]
    products += np.sum(y**2, 1)
    return products


# ------------------------------------------------------------------------------------------------ intervals


def jackknife_groups(count: int) -> Indices | None:
    """Of each of `count` images the number of its group: GROUPS random groups of about equal size; None if they would be too small."""
    if count < 2 * GROUPS:
        return None
    groups = np.empty(count, np.int64)
    groups[generator(0, "jackknife").permutation(count)] = np.arange(count) % GROUPS
    return groups


def jackknife(values: list[float]) -> tuple[float, float] | None:
    """The 95 % interval of `values[0]` (all images) from `values[1:]` (without each group).

    Standard error² = (G-1)/G Σ (θg - mean θ)² (Efron & Stein 1981, for groups). None without groups.
    """
    value, without = values[0], np.array(values[1:])
    if not len(without):
        return None
    return normal(value, float(np.sqrt((len(without) - 1) / len(without) * np.sum((without - without.mean()) ** 2))))


def normal(value: float, error: float) -> tuple[float, float]:
    """The 95 % interval of `value` with a standard error: ± 1.96 of them, not below 0."""
    return max(value - Z95 * error, min(value, 0.0)), value + Z95 * error


def bootstrap(values: Floats, resamples: int) -> tuple[float, float] | None:
    """The percentile 95 % interval of the mean of `values` [N], seeded. None without resamples, or if a value is infinite."""
    if not resamples or not np.isfinite(values).all():
        return None
    rng = generator(0, "bootstrap")
    means = np.array([values[rng.integers(len(values), size=len(values))].mean() for _ in range(resamples)])
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
