"""Image stores: many images in one file.

A store is an uncompressed ZIP of PNGs, laid out as NVIDIA's StyleGAN and EDM tools do and as clean-fid reads it:

    00000/img00000000.png   the images, under any names
    dataset.json            {"labels": [["00000/img00000000.png", 3], …]}
    manifest.json           {"classes": […], "images": [{"name": …, "label": 3, "class": …, source facts …}, …]}

Random access needs no unpacking, every read is checked against the image's CRC, and equal images give equal bytes.
"""

import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from palette.data.parallel import ordered
from palette.errors import DataError
from palette.files import replacing

LABELS, MANIFEST = "dataset.json", "manifest.json"
DATE = (1980, 1, 1, 0, 0, 0)
"""The ZIP format's first date: the same images must give the same bytes on any day."""

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.bool_]


@dataclass(frozen=True)
class StoredImage:
    """An image on its way into a store.

    name: path inside the store, ends in `.png`. pixels: uint8 [H, W, 3] RGB, or bool [H, W] for a mask.
    label: index of its class. source: where it comes from, JSON values; stands in the manifest.
    """

    name: str
    pixels: Pixels
    label: int = 0
    source: dict[str, Any] = field(default_factory=dict)


def image_name(index: int) -> str:
    """The name that NVIDIA's tools give image `index`: `00000/img00000000.png`, a thousand in a folder."""
    return f"{index // 1000:05}/img{index:08}.png"


def encode(pixels: Pixels) -> bytes:
    """PNG bytes of uint8 [H, W, 3], or of bool [H, W] with one bit a pixel (True is white)."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", compress_level=6)
    return file.getvalue()


def decode(data: bytes) -> npt.NDArray[np.uint8]:
    """PNG bytes → uint8 [H, W, 3]."""
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, DATE)
    entry.external_attr, entry.create_system = 0o644 << 16, 3
    archive.writestr(entry, data, zipfile.ZIP_STORED)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def write_store(path: Path, items: Iterable[StoredImage], classes: Sequence[str], threads: int = 1) -> int:
    """Write a store atomically; return the number of images.

    items: taken a few at a time, so that a store may be larger than memory. classes: name of each label.
    threads: that encode; their number changes no byte.
    """
    images: list[dict[str, Any]] = []
    encoded = ordered(lambda item: (item, encode(item.pixels)), items, threads)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for item, png in encoded:
            _add(archive, item.name, png)
            images.append({"name": item.name, "label": item.label, "class": classes[item.label], **item.source})
        assert len({image["name"] for image in images}) == len(images), "two images of one name"
        _add(archive, LABELS, _json({"labels": [[image["name"], image["label"]] for image in images]}))
        _add(archive, MANIFEST, _json({"classes": list(classes), "images": images}))
    return len(images)


class ImageStore:
    """A store, open for reading: `len(store)`, `store[i]` → uint8 [H, W, 3].

    Picklable and safe to fork: the file is opened anew in each process, when its first image is asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive: zipfile.ZipFile | None = None
        self._process = 0
        content = self._metadata(MANIFEST)
        try:
            self.classes: list[str] = content["classes"]
            self.names: list[str] = [image["name"] for image in content["images"]]
            self.labels: list[int] = [image["label"] for image in content["images"]]
        except (KeyError, TypeError) as error:
            raise self._damaged(MANIFEST, error) from None

    @cached_property
    def manifest(self) -> list[dict[str, Any]]:
        """All that the store says of each image, read when first asked for: a million entries take a gigabyte."""
        images: list[dict[str, Any]] = self._metadata(MANIFEST)["images"]
        return images

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:
        """Image `index`: uint8 [H, W, 3]. Raises DataError if its bytes are damaged."""
        name = self.names[index]
        try:
            return decode(self._read(name))
        except (OSError, ValueError, SyntaxError) as error:  # Pillow's words for a broken PNG
            raise self._damaged(name, error) from None

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """Image `index` of a store of masks: bool [H, W], True where it is white."""
        return self[index][:, :, 0] >= 128

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        if self._archive is not None and self._process == os.getpid():
            self._archive.close()
        self._archive = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_archive": None}

    def _open(self) -> zipfile.ZipFile:
        """The open file of this process: a forked one must not share the parent's position in the file."""
        if self._archive is None or self._process != os.getpid():
            try:
                self._archive, self._process = zipfile.ZipFile(self.path), os.getpid()
            except FileNotFoundError:
                raise DataError(f"{self.path}: no such image store. `snakemake` makes it.") from None
            except (zipfile.BadZipFile, OSError) as error:
                raise DataError(f"{self.path}: not a readable image store ({error}). {ADVICE}") from None
        return self._archive

    def _read(self, name: str) -> bytes:
        """The bytes of a member, checked against its CRC."""
        archive = self._open()
        try:
            return archive.read(name)
        except KeyError:
            raise self._damaged(name, "missing") from None
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
            raise self._damaged(name, error) from None

    def _metadata(self, name: str) -> Any:
        try:
            return json.loads(self._read(name))
        except ValueError as error:
            raise self._damaged(name, error) from None

    def _damaged(self, name: str, why: object) -> DataError:
        return DataError(f"{self.path}: image store is damaged at {name} ({why}). {ADVICE}")


class PairStore(ImageStore):
    """A store whose images have conditions in another one: `store[i]` → uint8 [H, W, 6], the image, then its condition."""

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


ADVICE = "Delete the file and run `snakemake` again; it is made anew."
