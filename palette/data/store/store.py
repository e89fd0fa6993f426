"""Image stores: many images in one file.

A store is an uncompressed ZIP of PNGs, in the layout that NVIDIA's StyleGAN and EDM tools write and clean-fid reads:

    00000/img00000000.png   the images, under any names
    dataset.json            {"labels": [["00000/img00000000.png", 3], …], "classes": […]}
    manifest.json           {"classes": […], "images": [{"name": …, "label": 3, "class": …, source facts …}, …]}

Random access needs no unpacking, every read is checked against the image's CRC, and equal images give equal bytes.
"""

import io
import json
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from palette.data.store import zip_reader
from palette.data.store.writer import LABELS, MANIFEST, StoreWriter
from palette.errors import DataError
from palette.system.files import replacing
from palette.system.parallel import ordered

T = TypeVar("T")
Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.bool_]
UNREADABLE = (OSError, ValueError, OverflowError, MemoryError, struct.error)
"""Exceptions raised when reading a file that is not an intact store."""
BROKEN = (*UNREADABLE, SyntaxError, zlib.error, Image.DecompressionBombError)
"""Exceptions raised when decoding a broken PNG."""
ADVICE = "Delete the file and run `snakemake` again; it is made anew."


@dataclass(frozen=True)
class StoredImage:
    """Image to be written to a store.

    name: path inside the store, ends in `.png`. pixels: uint8 [H, W, 3] RGB or [H, W] gray, or bool [H, W] for a mask.
    label: index of its class. source: its origin, as JSON values for the manifest.
    """

    name: str
    pixels: Pixels
    label: int = 0
    source: dict[str, Any] = field(default_factory=dict)


def image_name(index: int) -> str:
    """Return the name that NVIDIA's tools give image `index`: `00000/img00000000.png`, a thousand per folder."""
    return f"{index // 1000:05}/img{index:08}.png"


def encode(pixels: Pixels) -> bytes:
    """Encode uint8 [H, W, 3] or [H, W] as PNG, or bool [H, W] with one bit per pixel (True is white)."""
    # Run lengths make photographs as small as level 6 in a quarter of the time, and level 9 masks ten times smaller.
    file = io.BytesIO()
    options = {"compress_level": 9} if pixels.dtype == np.bool_ else {"compress_level": 1, "compress_type": zlib.Z_RLE}
    Image.fromarray(pixels).save(file, format="PNG", **options)
    return file.getvalue()


def decode(data: bytes) -> npt.NDArray[np.uint8]:
    """Decode PNG bytes to uint8 [H, W, 3]."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def write_store(path: Path, items: Iterable[StoredImage], classes: Sequence[str], threads: int = 1) -> int:
    """Write a store atomically; return the number of images.

    items: consumed a few at a time, so that a store may be larger than memory. classes: name of each label.
    threads: number of encoding threads; it does not affect the bytes.
    """
    names: set[str] = set()
    encoded = ordered(lambda item: (item, encode(item.pixels)), items, threads)
    with replacing(path) as temporary, temporary.open("r+b") as file, tempfile.TemporaryFile("w+b") as journal:
        writer = StoreWriter(file, journal, classes)
        for item, png in encoded:
            assert item.name not in names, f"two images of the name {item.name}"
            names.add(item.name)
            writer.add(item.name, png, item.label, item.source)
        writer.finish()
    return writer.images


class ImageStore:
    """Image store, open for reading: `len(store)`, `store[i]` → uint8 [H, W, 3].

    Picklable, and safe to fork and to share between threads: every read uses its own file position. A store of a
    million images takes 20 MB of memory; its two JSON members are read on first use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._process = 0
        try:
            self._directory, listing = zip_reader.directory(self._open(), self._length)
            last = zip_reader.names(listing, len(self._directory))[-2:]
        except UNREADABLE as error:
            self.close()
            raise DataError(f"{path}: not a readable image store ({error}). {ADVICE}") from None
        if last != [LABELS, MANIFEST]:
            self.close()
            raise DataError(f"{path}: not an image store: it has no {LABELS} and {MANIFEST} at its end. {ADVICE}")

    @cached_property
    def names(self) -> list[str]:
        _, listing = zip_reader.directory(self._open(), self._length)
        return zip_reader.names(listing, len(self))

    @cached_property
    def _labels(self) -> tuple[list[int], list[str]]:
        labels, classes = self._metadata(LABELS, lambda c: ([int(label) for _, label in c["labels"]], c["classes"]))
        if len(labels) != len(self):
            raise self._damaged(LABELS, f"{len(labels)} labels for {len(self)} images")
        return labels, classes

    @property
    def labels(self) -> list[int]:
        """Class index of each image."""
        return self._labels[0]

    @property
    def classes(self) -> list[str]:
        """Name of each label."""
        return self._labels[1]

    @cached_property
    def manifest(self) -> list[dict[str, Any]]:
        """Manifest entry of each image: a million entries take a gigabyte."""
        return self._metadata(MANIFEST, lambda content: list(content["images"]))

    def __len__(self) -> int:
        return len(self._directory) - 2

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:
        """Return image `index`: uint8 [H, W, 3]. Raises DataError if its bytes are damaged."""
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        data = self._read(index % len(self))
        try:
            return decode(data)
        except BROKEN as error:
            raise self._damaged(self.names[index], error) from None

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """Return image `index` of a store of masks: bool [H, W], True where it is white."""
        return self[index][:, :, 0] >= 128

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next access reopens it."""
        if self._file is not None:
            os.close(self._file)
        self._file = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    def _open(self) -> int:
        if self._file is None:
            try:
                self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
                self._length = os.fstat(self._file).st_size
            except FileNotFoundError:
                raise DataError(f"{self.path}: no such image store. `snakemake` makes it.") from None
            except OSError as error:
                raise DataError(f"{self.path}: not a readable image store ({error}). {ADVICE}") from None
        return self._file

    def _read(self, index: int) -> bytes:
        members = self._directory
        place = (int(members.offset[index]), int(members.size[index]), int(members.crc[index]))
        try:
            return zip_reader.read_member(self._open(), *place)
        except UNREADABLE as error:
            raise self._damaged([*self.names, LABELS, MANIFEST][index], error) from None

    def _metadata(self, name: str, select: Callable[[Any], T]) -> T:
        data = self._read(len(self) + (LABELS, MANIFEST).index(name))
        try:
            return select(json.loads(data))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._damaged(name, error) from None

    def _damaged(self, name: str, why: object) -> DataError:
        return DataError(f"{self.path}: image store is damaged at {name} ({why}). {ADVICE}")


class PairStore(ImageStore):
    """Store with conditions in another store: `store[i]` → uint8 [H, W, 6], the image, then its condition."""

    def __init__(self, path: Path, conditions: Path) -> None:
        super().__init__(path)
        self.conditions = ImageStore(conditions)
        if self.conditions.names != self.names:
            raise DataError(f"{conditions}: not the conditions of the images in {path}. {ADVICE}")

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:
        image, condition = super().__getitem__(index), self.conditions[index]
        if image.shape != condition.shape:
            raise DataError(
                f"{self.conditions.path}: image {index} is of shape {condition.shape}, that in {self.path} of "
                f"{image.shape}. {ADVICE}"
            )
        return np.concatenate([image, condition], axis=2)

    def close(self) -> None:
        super().close()
        self.conditions.close()
