"""Measurements of each image of a shard: by a network, and pixel by pixel against the original."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from palette.scoring.extractors import Arrays, Network, Pixels
from palette.scoring.pixels import chroma, psnr, ssim
from palette.system.parallel import ordered

BATCH = 32
"""Images per pass of the network.

The last batch is padded, so that an image's features do not depend on the other images.
"""


@dataclass(frozen=True)
class Pair:
    """An image, its original, and the original's class."""

    output: Pixels
    original: Pixels
    label: int


@dataclass(frozen=True)
class _Prepared:
    """A pair prepared for the network, with the measurements that need no network."""

    output: npt.NDArray[Any]
    original: npt.NDArray[Any]
    label: int
    values: dict[str, Any]


def measure(pairs: Iterable[Pair], network: Network, pixels: bool, threads: int = 1) -> Arrays:
    """Measure each of N images, in their order.

    Returns item uint64 [N], which identifies the original by its pixels, and the network's measurements, some of:
    features float32 [N,D], spatial float32 [N,2023], probabilities float32 [N,K], correct bool [N], lpips, ms-ssim
    float64 [N]. With `pixels` also psnr (dB), ssim, chroma float64 [N]. threads: number that prepare images for the
    network.
    """
    prepared = ordered(partial(_prepare, network, pixels), pairs, threads)
    parts = [_measure(batch, network) for batch in _batches(prepared)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def diversity(draws: Iterable[list[Pixels]], network: Network, chain: bool) -> npt.NDArray[np.float64]:
    """Measure the similarity of several outputs of one input, by a network of pairs: [inputs,draws-1].

    Empty without inputs. draws: the outputs of each input, equally many. chain: compare each with the next one;
    otherwise the first with each other one.
    """
    rows = []
    for images in draws:
        firsts = images[:-1] if chain else [images[0]] * (len(images) - 1)
        pairs = (Pair(a, b, 0) for a, b in zip(firsts, images[1:], strict=True))
        arrays = measure(pairs, network, pixels=False)
        rows.append(next(values for name, values in arrays.items() if name != "item"))
    return np.array(rows, np.float64)


def _prepare(network: Network, pixels: bool, pair: Pair) -> _Prepared:
    values: dict[str, Any] = {"item": _item(pair.original)}
    if pixels:
        values |= {
            "psnr": psnr(pair.output, pair.original),
            "ssim": ssim(pair.output, pair.original),
            "chroma": chroma(pair.output),
        }
    output = network.prepare(pair.output)
    return _Prepared(output, network.prepare(pair.original) if network.pairs else output, pair.label, values)


def _item(original: Pixels) -> np.uint64:
    """Return an identifier of an image, derived from its pixels."""
    return np.uint64(int.from_bytes(hashlib.sha256(original.tobytes()).digest()[:8], "little"))


def _batches(items: Iterable[_Prepared]) -> Iterator[list[_Prepared]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch


@torch.no_grad()
def _measure(batch: list[_Prepared], network: Network) -> Arrays:
    filled = batch + batch[:1] * (BATCH - len(batch))
    outputs, originals = (np.stack([getattr(p, side) for p in filled]) for side in ("output", "original"))
    measured = network.measure(outputs, originals, np.array([p.label for p in filled]))
    own = {name: np.array([p.values[name] for p in batch]) for name in batch[0].values}
    return own | {name: values[: len(batch)] for name, values in measured.items()}
