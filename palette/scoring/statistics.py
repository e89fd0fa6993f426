"""Kernel distance, Inception Score, precision and recall of sets of images, and 95 % intervals. NumPy only.

Features may be on disk: they are read block by block, and memory does not grow with the number of images.
A mean over images gets a bootstrap interval. A statistic of the whole set gets a jackknife interval: resampling with
repetition would bias a distance between sets, leaving images out does not.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from palette.scoring.frechet import Floats, Rows, blocks
from palette.system.randomness import generator

Indices = npt.NDArray[np.int64]

GROUPS = 20
"""Groups of images that the jackknife leaves out in turn."""
NEIGHBORS = 3
"""k of precision and recall."""
Z95 = 1.959964
"""Half-width of a 95 % interval in standard errors."""
T95 = 2.093024
"""Half-width where the error is estimated from GROUPS groups: Student's distribution, GROUPS - 1 degrees of freedom."""
BLOCK = 2048
"""Images in memory at a time."""


@dataclass(frozen=True)
class KernelSums:
    """Σ (x·y/D + 1)³ over the images of each pair of the jackknife's groups: the basis of KID and its standard error.

    No image is compared with itself and, in paired sets, no output with its own original: they resemble each other by
    design, and the distance would be too small. KID (Bińkowski et al. 2018) is the unbiased squared MMD with that kernel,
    over all images: clean-fid's mean over subsets of 1000 estimates the same value less precisely.
    """

    within_a: Floats
    """[G,G]"""
    within_b: Floats
    """[H,H]"""
    across: Floats
    """[G,H]"""
    sizes_a: Floats
    """Images in each group [G]."""
    sizes_b: Floats
    paired: bool

    @property
    def distance(self) -> float:
        """KID over all images."""
        return self._over(np.ones_like(self.sizes_a), np.ones_like(self.sizes_b))

    def _over(self, u: Floats, v: Floats) -> float:
        """Compute KID over the groups that are 1 in u [G] and v [H]."""
        n, m = u @ self.sizes_a, v @ self.sizes_b
        within = u @ self.within_a @ u / (n * (n - 1)) + v @ self.within_b @ v / (m * (m - 1))
        return float(within - 2 * (u @ self.across @ v) / (n * (m - self.paired)))

    @property
    def standard_error(self) -> float | None:
        """Jackknife standard error over the groups of both sets, or None with too few images.

        Paired images are left out together.

        The jackknife counts the interaction between images twice (Efron & Stein 1981), and with equal distributions
        there is nothing else. It is therefore subtracted once, as estimated from the pairs of groups, up to half of the
        jackknife's variance.
        """
        if min(len(self.sizes_a), len(self.sizes_b)) < GROUPS:
            return None
        without, every = 1 - np.eye(GROUPS), np.ones(GROUPS)
        n, m = self.sizes_a.sum(), self.sizes_b.sum()
        if self.paired:
            variance = _jackknife_variance([self._over(u, u) for u in without])
            pairs = self.within_a + self.within_b - self.across - self.across.T
            interaction = 2 * _interaction(pairs / (n * (n - 1)))
        else:
            variance = _jackknife_variance([self._over(u, every) for u in without])
            variance += _jackknife_variance([self._over(every, v) for v in without])
            interaction = 2 * _interaction(self.within_a / (n * (n - 1)))
            interaction += 2 * _interaction(self.within_b / (m * (m - 1)))
            interaction += 4 * _interaction(self.across / (n * m))
        return float(np.sqrt(max(variance - interaction, variance / 2)))


def _interaction(sums: Floats) -> float:
    """Return the sum of squares of a matrix [G,G] after the means of rows and columns are subtracted."""
    centered = sums - sums.mean(0)
    return float(np.sum((centered - centered.mean(1)[:, None]) ** 2))


def kernel_sums(a: Rows, b: Rows, paired: bool = False, within_b: Floats | None = None) -> KernelSums:
    """Sum the kernels of features [N,D] and [M,D].
    paired: item i of `b` is the original of item i of `a`. within_b: `kernels_within` of `b`, if they are known."""
    of_a, of_b = _groups_or_one(len(a)), _groups_or_one(len(b))
    return KernelSums(
        kernels_within(a),
        kernels_within(b) if within_b is None else within_b,
        _kernels(a, b, of_a, of_b, skip_own=paired),
        np.bincount(of_a).astype(np.float64),
        np.bincount(of_b).astype(np.float64),
        paired,
    )


def kernels_within(rows: Rows) -> Floats:
    """Sum (x·y/D + 1)³ over the images [N,D] of each pair of the jackknife's groups: [G,G].
    The term of each image with itself is left out."""
    groups = _groups_or_one(len(rows))
    return _kernels(rows, rows, groups, groups, skip_own=True)


def _groups_or_one(count: int) -> Indices:
    """Return the jackknife's groups, or one group of all images if they are too few."""
    groups = jackknife_groups(count)
    return np.zeros(count, np.int64) if groups is None else groups


def _kernels(x: Rows, y: Rows, of_x: Indices, of_y: Indices, skip_own: bool) -> Floats:
    """Sum (x·y/D + 1)³ over the images of each pair of groups: [G,H].
    skip_own: leave out image i of x with image i of y."""
    sums = np.zeros((of_x.max() + 1, of_y.max() + 1))
    for rows, block in blocks(x, BLOCK):
        for columns, other in blocks(y, BLOCK):
            kernel = (block @ other.T / x.shape[1] + 1) ** 3
            if skip_own and rows == columns:
                np.fill_diagonal(kernel, 0)
            sums += _members(of_x[rows], len(sums)) @ kernel @ _members(of_y[columns], sums.shape[1]).T
    return sums


def _members(group: Indices, groups: int) -> Floats:
    """Return a matrix [G,N] that is 1 where image i is in group g."""
    members: Floats = np.equal(group, np.arange(groups)[:, None]).astype(np.float64)
    return members


def inception_scores(probabilities: Rows, splits: int, groups: Indices | None = None) -> list[float]:
    """Compute exp E KL(p(y|x) ‖ p(y)) (Salimans et al. 2016), mean over `splits` random parts of probabilities [N,K].

    At most N parts; with fewer images per part than classes it is far too low. groups: the group number of each image
    [N]; with them, further scores are those without each group, whose images stay in their split.
    """
    count = len(probabilities)
    of_split = np.empty(count, np.int64)
    order = generator(0, "inception-score").permutation(count)
    for split, members in enumerate(np.array_split(order, min(splits, count))):
        of_split[members] = split
    of_group = np.zeros(count, np.int64) if groups is None else groups
    cell = of_split * (of_group.max() + 1) + of_group
    shape = (of_split.max() + 1, of_group.max() + 1)
    sums, negentropy = np.zeros((shape[0] * shape[1], probabilities.shape[1])), np.zeros(shape[0] * shape[1])
    for rows, p in blocks(probabilities, BLOCK):
        np.add.at(sums, cell[rows], p)
        np.add.at(negentropy, cell[rows], _negentropy(p))
    counts = np.bincount(cell, minlength=shape[0] * shape[1])
    parts = (sums.reshape(*shape, -1), negentropy.reshape(shape), counts.reshape(shape))
    whole = [part.sum(1) for part in parts]
    scores = [_score(*whole)]
    if groups is not None:
        scores += [_score(*(w - part[:, g] for w, part in zip(whole, parts, strict=True))) for g in range(shape[1])]
    return scores


def _score(sums: Floats, negentropy: Floats, count: Floats) -> float:
    """Compute exp of the mean KL divergence from the mean probabilities, mean over the splits that have images."""
    filled = count > 0
    mean = sums[filled] / count[filled, None]
    return float(np.exp(negentropy[filled] / count[filled] - _negentropy(mean)).mean())


def _negentropy(p: Floats) -> Floats:
    """Compute Σ p log p of each row; 0 log 0 = 0, and rounding below 0 counts as 0."""
    summed: Floats = np.sum(p * np.log(np.maximum(p, np.finfo(np.float64).tiny)), axis=1)
    return summed


def in_manifold(x: Rows, manifold: Rows, radii: Floats | None = None) -> npt.NDArray[np.bool_]:
    """Return which of the features x [N,D] lie in the manifold of other features [M,D]: [N] (Kynkäänniemi et al. 2019).

    The manifold is the union of balls around those features, with the distance to the NEIGHBORS-th neighbor as radius.
    For outputs x and the originals' manifold the mean is precision; the other way round it is recall. radii: the
    manifold's `neighborhoods`, if they are known.
    """
    radii = neighborhoods(manifold) if radii is None else radii
    found = np.zeros(len(x), bool)
    for rows, block in blocks(x, BLOCK):
        for columns, other in blocks(manifold, BLOCK):
            found[rows] |= (_squared(block, other) <= radii[columns]).any(1)
    return found


def neighborhoods(rows: Rows) -> Floats:
    """Compute the squared distance of each feature [N,D] to its NEIGHBORS-th neighbor: [N].
    With fewer features, to the last."""
    nearest = min(NEIGHBORS + 1, len(rows))  # each is its own nearest neighbor
    radii = np.empty(len(rows))
    for place, block in blocks(rows, BLOCK):
        best = np.full((len(block), 0), np.inf)
        for _, other in blocks(rows, BLOCK):
            best = np.hstack([best, _squared(block, other)])
            best = np.partition(best, nearest - 1, axis=1)[:, :nearest] if best.shape[1] > nearest else best
        radii[place] = best.max(1)
    return radii


def _squared(x: Floats, y: Floats) -> Floats:
    """Compute the squared distances between features [N,D] and [M,D]: [N,M]."""
    products = x @ y.T
    products *= -2
    products += np.sum(x**2, 1)[:, None]
    products += np.sum(y**2, 1)
    return products


def jackknife_groups(count: int) -> Indices | None:
    """Return the group number of each of `count` images: GROUPS random groups of about equal size.
    None if they would be too small."""
    if count < 2 * GROUPS:
        return None
    groups = np.empty(count, np.int64)
    groups[generator(0, "jackknife").permutation(count)] = np.arange(count) % GROUPS
    return groups


def jackknife(values: list[float]) -> tuple[float, float] | None:
    """Return the 95 % interval, not below 0, of `values[0]` (all images) from `values[1:]` (without each group).
    None without groups."""
    value, without = values[0], values[1:]
    return normal(value, np.sqrt(_jackknife_variance(without)), least=0.0) if without else None


def _jackknife_variance(without: list[float]) -> float:
    """Compute (G-1)/G Σ (θg - mean θ)² of a statistic without each of G groups (Efron & Stein 1981, for groups)."""
    return float((len(without) - 1) * np.var(without))


def normal(value: float, error: float, least: float = -np.inf, width: float = Z95) -> tuple[float, float]:
    """Return the 95 % interval of `value`: ± `width` standard errors.
    least: smallest possible value of the statistic."""
    return max(value - width * error, least), value + width * error


def bootstrap(values: Floats, resamples: int) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of the mean of `values` [N], seeded.
    None without resamples, or if a value is infinite."""
    if not resamples or not np.isfinite(values).all():
        return None
    rng = generator(0, "bootstrap")
    means = np.array([values[rng.integers(len(values), size=len(values))].mean() for _ in range(resamples)])
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
