"""Manifest of a dataset: the list of its original images, and access to the bytes of each.

`manifest.jsonl` has one JSON value per line, so that a million entries are written and read one at a time:

    {"source": "folder", "containers": ["/data/birds"], "classes": ["jay", "owl"], "images": 2, "rejected": 1}
    {"file": "jay/1.jpg", "bytes": 9120, "sha256": "…", "class": "jay", "size": [500, 375]}
    {"file": "owl/7.png", "bytes": 8007, "sha256": "…", "class": "owl", "size": [640, 480], "split": "test"}
    {"file": "owl/8.png", "reason": "damaged or not supported (image file is truncated)"}

The header comes first, then the images, then the rejected files. An image's bytes are in one of the header's
`containers`: in a folder under the name `file`, or in an archive at `offset`, where `deflated` is the number of
compressed bytes, if they are compressed.
"""

import hashlib
import json
import os
import shutil
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from palette.errors import DataError
from palette.system.files import replacing

Entry = dict[str, Any]
"""Manifest entry.

An image has `file` (a name, unique in its container), `bytes`, `sha256`, `class`, `size` (width and height as
displayed, after EXIF orientation), and where applicable `split` ("train" or "test"), `container` (its index, if not
0), `offset`, `deflated`, `crc` (CRC-32 in a ZIP), `values` (smallest and largest, if it has more than 8 bits),
`unclear` (nothing states which values are black and white), `condition` (the entry of its counterpart), `title`,
`author`, `license` and `url`. A rejected file has `file` and `reason`."""


@dataclass(frozen=True)
class Manifest:
    """Manifest on disk: only the header is in memory, the entries are read when needed."""

    path: Path
    header: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read the manifest at `path`. Raises DataError if it is missing or invalid."""
        try:
            with path.open("rb") as file:
                header = _parse(path, 1, file.readline())
        except OSError as error:
            raise DataError(f"{path}: not readable ({error.strerror}). The fetch stage makes it.") from None
        if not {"source", "containers", "classes", "images", "rejected"} <= header.keys():
            raise DataError(f"{path}: not a manifest. {ADVICE}")
        return cls(path, header)

    @property
    def source(self) -> str:
        return str(self.header["source"])

    @property
    def classes(self) -> list[str]:
        """Class names in the order of their labels."""
        return list(self.header["classes"])

    @property
    def containers(self) -> list[Path]:
        return [self.path.parent / container for container in self.header["containers"]]

    def images(self) -> Iterator[Entry]:
        return self._entries(0, self.header["images"])

    def rejected(self) -> Iterator[Entry]:
        """Return an iterator over the rejected files: `{"file": …, "reason": …}`."""
        return self._entries(self.header["images"], self.header["rejected"])

    def _entries(self, start: int, count: int) -> Iterator[Entry]:
        found = 0
        with self.path.open("rb") as file:
            for found, line in enumerate(islice(file, 1 + start, 1 + start + count), 1):
                yield _parse(self.path, 1 + start + found, line)
        if found != count:
            raise DataError(f"{self.path}: ends after {found} of {count} entries. {ADVICE}")


ADVICE = "Delete the fetch stage's folder and run `snakemake` again."


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise DataError(f"{path}:{number}: not readable as JSON ({error}). {ADVICE}") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}:{number}: not an entry of a manifest. {ADVICE}")
    return value


def _line(value: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    except UnicodeEncodeError:  # a path that is not UTF-8 survives as escapes
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def write_manifest(path: Path, header: Mapping[str, Any], entries: Iterable[Entry]) -> Manifest:
    """Write a manifest atomically. Memory use does not grow with the number of entries.

    header: `source` and `containers` (paths; relative ones to the folder of `path`), and further facts of the dataset.
    The sorted `classes` are added if missing, and the numbers of entries. entries: kept in their order; those with a
    `reason` are the rejected ones.
    """
    classes: set[str] = set()
    counts = [0, 0]
    with ExitStack() as files:
        path.parent.mkdir(parents=True, exist_ok=True)
        parts = [files.enter_context(TemporaryFile(dir=path.parent)) for _ in range(2)]
        for entry in entries:
            rejected = "reason" in entry
            parts[rejected].write(_line(entry))
            counts[rejected] += 1
            if not rejected:
                classes.add(entry["class"])
        whole = {"classes": sorted(classes), **header, "images": counts[0], "rejected": counts[1]}
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(_line(whole))
            for part in parts:
                part.seek(0)
                shutil.copyfileobj(part, file)
    return Manifest(path, whole)


class Opener:
    """Reader of images, and of their conditions, from `containers`.

    Safe for threads, and picklable for processes. Each process keeps the archives that it has used open.
    """

    def __init__(self, containers: Sequence[Path]) -> None:
        self.containers = tuple(containers)
        self._archives: dict[tuple[int, int], BinaryIO] = {}
        self._lock = threading.Lock()

    def __call__(self, entry: Entry) -> bytes:
        """Return the bytes that were fetched. Raises DataError if they are missing or have changed."""
        place = self.place(entry)
        try:
            data = self.read(entry)
        except (OSError, zlib.error) as error:
            why = getattr(error, "strerror", None) or error
            raise DataError(f"{place}: not readable any more ({why}). It was readable when it was fetched.") from None
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise DataError(f"{place}: changed since it was fetched. {ADVICE}")
        return data

    def place(self, entry: Entry) -> Path:
        """Return an image's location for messages: its file, or its archive and the name inside."""
        return Path(self.containers[entry.get("container", 0)], entry["file"])

    def read(self, entry: Entry) -> bytes:
        """Return the bytes of an image, unchecked. Raises OSError or zlib.error."""
        if "offset" not in entry:
            return self.place(entry).read_bytes()
        length = int(entry["deflated"] if "deflated" in entry else entry["bytes"])
        # `pread` does not move the file position, which threads and forked processes share.
        data = os.pread(self._archive(entry.get("container", 0)), length, entry["offset"])
        return inflate(data, entry["bytes"]) if "deflated" in entry else data

    def _archive(self, number: int) -> int:
        key = (os.getpid(), number)
        with self._lock:
            if key not in self._archives:
                self._archives[key] = self.containers[number].open("rb")
            return self._archives[key].fileno()

    def __reduce__(self) -> tuple[type["Opener"], tuple[Sequence[Path]]]:
        return Opener, (self.containers,)


def inflate(data: bytes, size: int) -> bytes:
    """Return the first `size` bytes of a raw DEFLATE stream, and one more if there are any; zlib.error if it is invalid."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
