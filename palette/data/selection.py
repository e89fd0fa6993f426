"""Selection of training and test images from a dataset.

It keeps only 17 bytes per picture in memory: a number derived from its content, one from its name, and its split.
"""

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from palette.config.datasets import Squares
from palette.data.sources.manifest import Entry, Manifest
from palette.data.sources.splits import read_flist
from palette.errors import DataError, indented

SPLITS = ("", "train", "test")


@dataclass(frozen=True)
class Listed:
    """Arrays with one element per picture of a manifest, in the manifest's order.

    key: uint64, random but equal for equal bytes. name: uint64, equal for names in one container that differ only in
    case. split: index into `SPLITS`.
    """

    key: npt.NDArray[np.uint64]
    name: npt.NDArray[np.uint64]
    split: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, images: Iterable[Entry], seed: int) -> "Listed":
        key, name, split = array("Q"), array("Q"), bytearray()
        for entry in images:
            key.append(_number(f"{seed} {entry['sha256']}"))
            name.append(_number(f"{entry.get('container', 0)} {entry['file'].casefold()}"))
            split.append(SPLITS.index(entry.get("split", "")))
        return cls(np.array(key, np.uint64), np.array(name, np.uint64), np.array(split, np.uint8))

    def same_names(self, images: Iterable[Entry]) -> list[list[str]]:
        """Return groups of names that differ only in case, one list per group. All of them are different pictures."""
        numbers, counts = np.unique(self.name, return_counts=True)
        often = set(numbers[counts > 1].tolist())
        if not often:
            return []
        alike: dict[int, list[str]] = {}
        for number, entry in zip(self.name.tolist(), images, strict=True):
            if number in often:
                alike.setdefault(number, []).append(entry["file"])
        return list(alike.values())


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


@dataclass(frozen=True)
class Selection:
    """Selected images.

    tests: manifest indices of the test images, in order. train: bool for each manifest index. copies: number of
    training pictures left out because they have the bytes of a test image. same_names: see `Listed`; all are kept.
    """

    tests: npt.NDArray[np.int64]
    train: npt.NDArray[np.bool_]
    copies: int
    same_names: list[list[str]]

    def test_entries(self, images: Iterable[Entry]) -> Iterator[Entry]:
        """Return an iterator over the test images' entries among a manifest's images, in test order."""
        wanted = np.zeros(len(self.train), np.bool_)
        wanted[self.tests] = True
        found = dict(zip(np.flatnonzero(wanted).tolist(), compress(images, wanted), strict=True))
        return (found[place] for place in self.tests.tolist())


def select(manifest: Manifest, options: Squares, test_list: Path | None) -> Selection:
    """Select by a number derived from each picture's content, independent of its path and of the other pictures.

    A dataset's own splits are kept. Without any, equal pictures count once. test_list: file that names the test images,
    in order. Raises DataError if there are too few pictures, and for names that do not match exactly one picture.
    """
    listed = Listed.of(manifest.images(), options.seed)
    official = bool(listed.split.any())
    pool = np.full(len(listed.key), official)
    if not official:
        pool[np.unique(listed.key, return_index=True)[1]] = True  # the first picture of each content
    if test_list is not None:
        tests = _named(manifest, test_list, read_names(test_list, options.test_images))
    else:
        tests = _lowest(listed.key, pool & (listed.split == SPLITS.index("test")) if official else pool)
        tests = tests[: options.test_images]
    train = pool & (listed.split == SPLITS.index("train")) if official else pool
    train[tests] = False
    copies = train & np.isin(listed.key, listed.key[tests])
    if official and options.duplicates == "report":
        copies[:] = False
    train &= ~copies
    _refuse_too_few(manifest, options, len(tests), int(train.sum()))
    if options.train_images is not None:
        chosen = _lowest(listed.key, train)[: options.train_images]
        train = np.zeros_like(train)
        train[chosen] = True
    return Selection(tests, train, int(copies.sum()), listed.same_names(manifest.images()))


def _lowest(key: npt.NDArray[np.uint64], among: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    places = np.flatnonzero(among)
    return places[np.argsort(key[places], kind="stable")]


def _refuse_too_few(manifest: Manifest, options: Squares, tests: int, train: int) -> None:
    wanted = 1 if options.train_images is None else options.train_images
    if tests >= options.test_images and train >= wanted:
        return
    rejected = manifest.header["rejected"]
    raise DataError(
        f"{manifest.path}: has {tests + train} different readable pictures ({train} to train on and {tests} to test on), but "
        f"{wanted} for training and {options.test_images} for testing are asked for ({wanted + options.test_images}). "
        f"Lower `train_images` or `test_images`. {rejected} files were left out; they stand at the manifest's end."
    )


def read_names(path: Path, count: int) -> list[str]:
    """Return the first `count` names of a list with one name per line; surrounding blanks and empty lines are ignored.

    Raises DataError if there are fewer, or if one is repeated.
    """
    names = [name for line in read_flist(path) if (name := line.strip())][:count]
    if len(names) < count:
        raise DataError(f"{path}: has {len(names)} names, but `test_images` is {count}. Lower `test_images`.")
    if len(set(names)) < len(names):
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise DataError(f"{path}: {twice} is listed twice. {ONCE}")
    return names


ONCE = "Each test image counts once: remove one line."


def _named(manifest: Manifest, path: Path, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the manifest indices of the pictures named in the list `path`, in the list's order.

    Raises DataError for names that match no picture or several, and for two names of the same picture.
    """
    whole, ends = ({name: list[int]() for name in names} for _ in range(2))
    for place, entry in enumerate(manifest.images()):
        for name in _names_of(entry["file"]):
            if name in whole:
                (whole if name == entry["file"] else ends)[name].append(place)
    found = {name: whole[name] or ends[name] for name in names}
    missing = [f"{name}: no such picture" for name, places in found.items() if not places]
    unclear = [f"{name}: several pictures" for name, places in found.items() if len(places) > 1]
    if missing or unclear:
        raise DataError(
            f"{path} (`test_list` of `prepare`): {len(missing)} of {len(found)} names are of no readable picture of "
            f"{manifest.path}, and {len(unclear)} are of several:{indented([*missing, *unclear])}\n"
            "Write more of its path before a name that is not clear; what could not be read stands at the manifest's end."
        )
    owner: dict[int, str] = {}
    for name, (place,) in found.items():
        if owner.setdefault(place, name) != name:
            raise DataError(f"{path}: {owner[place]} and {name} are the same picture. {ONCE}")
    return np.fromiter(owner, np.int64)


def _names_of(file: str) -> Iterator[str]:
    """Yield the names a list may use for a file: its path or the end of its path, with or without its extension."""
    parts, ending = PurePosixPath(file).parts, PurePosixPath(file).suffix
    for first in range(len(parts)):
        name = "/".join(parts[first:])
        yield name
        if ending:
            yield name.removesuffix(ending)
