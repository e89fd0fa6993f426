"""Fréchet distance between sets of features, and its uncertainty.

NumPy only; memory does not grow with the number of images.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.floating]
"""Features or probabilities [N,D], in memory or on disk."""

BLOCK = 4096
"""Images in memory at a time."""


@dataclass(frozen=True)
class Gaussian:
    """Normal distribution of N features: mean [D], and R [r,D] with RᵀR the unbiased covariance, r at most D."""

    count: int
    mean: Floats
    root: Floats


def blocks(rows: Rows, size: int) -> Iterator[tuple[slice, Floats]]:
    """Yield rows [N,D] as float64, `size` at a time, with their positions."""
    for start in range(0, len(rows), size):
        place = slice(start, min(start + size, len(rows)))
        yield place, rows[place].astype(np.float64)


def gaussian(rows: Rows) -> Gaussian:
    """Compute the mean and the root of the covariance of features [N,D], block by block.

    The covariance itself is never formed, which would lose half of the digits: the R factor of the previous blocks and
    the next centered block go through one QR decomposition, with an additional row for the shift of the mean (Chan et
    al. 1983).
    """
    count, mean = 0, np.zeros(rows.shape[1])
    root: Floats = np.zeros((0, rows.shape[1]))
    for _, block in blocks(rows, BLOCK):
        shift = block.mean(0) - mean
        weight = np.sqrt(count * len(block) / (count + len(block)))
        root = np.asarray(np.linalg.qr(np.vstack([root, block - block.mean(0), weight * shift]), mode="r"))
        count += len(block)
        mean = mean + shift * len(block) / count
    return Gaussian(count, mean, root / np.sqrt(count - 1))


@dataclass(frozen=True)
class Distance:
    """Fréchet distance between `a` and `b`, with the singular value decomposition of Ra Rbᵀ."""

    a: Gaussian
    b: Gaussian
    left: Floats
    overlap: Floats
    right: Floats

    @property
    def value(self) -> float:
        """|μa - μb|² + Tr(Ca + Cb - 2 (Ca Cb)^½) (Heusel et al. 2017, eq. 6)."""
        means = np.sum((self.a.mean - self.b.mean) ** 2)
        return max(float(means + np.sum(self.a.root**2) + np.sum(self.b.root**2) - 2 * self.overlap.sum()), 0.0)

    def influence(self, rows: Rows, of_b: bool = False) -> Floats:
        """Return by how much each feature [N,D] of `a` (or `b`) moves the distance more than the average: [N], sum 0.

        The derivative of the distance with respect to an image's weight, times N: with x = feature - μ and the
        derivative of the last trace, Tr (Ca Cb)^½ = Σ σ with Ra Rbᵀ = U σ Vᵀ,
        2 (μa - μb)·x + |x|² - N/(N-1) |σ^-½ Vᵀ Rb x|², minus the average.
        """
        own, other = (self.b, self.a) if of_b else (self.a, self.b)
        vectors = self.left.T if of_b else self.right
        significant = self.overlap > len(self.overlap) * np.finfo(float).eps * self.overlap[:1].sum()
        transport = other.root.T @ (vectors[significant] / np.sqrt(self.overlap[significant, None])).T
        scale = own.count / (own.count - 1)
        parts = []
        for _, block in blocks(rows, BLOCK):
            x = block - own.mean
            parts.append(2 * x @ (own.mean - other.mean) + scale * (np.sum(x**2, 1) - np.sum((x @ transport) ** 2, 1)))
        influence: Floats = np.concatenate(parts)
        influence -= influence.mean()
        return influence


def distance(a: Gaussian, b: Gaussian) -> Distance:
    """Compute the Fréchet distance between two normal distributions. With C = RᵀR, Tr (Ca Cb)^½ is the sum of the
    singular values of Ra Rbᵀ: no matrix square root is needed, and nothing has to be of full rank."""
    left, overlap, right = np.linalg.svd(a.root @ b.root.T, full_matrices=False)
    return Distance(a, b, left, overlap, right)


def standard_error(found: Distance, a: Rows, b: Rows | None) -> float:
    """Compute the standard error of a Fréchet distance by the infinitesimal jackknife (Efron 1982): √(Σ influence²)/N.

    a: the features [N,D] of `found.a`. b: those of `found.b` if item i of both belong together, so that they are
    sampled together; None for a reference that is considered fixed. If both sets have the same distribution, so that
    the distance is pure chance, the error is too large by up to √2.
    """
    influence = found.influence(a)
    if b is not None:
        influence = influence + found.influence(b, of_b=True)
    return float(np.sqrt(np.sum(influence**2))) / len(influence)
