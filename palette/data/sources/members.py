"""Members of tar and ZIP files, found without unpacking: each file's name, position and length.

Nothing is ever written under a name from inside an archive. Archives with absolute paths, `..`, links or devices are
still rejected, because no dataset of images needs them.
"""

import bz2
import gzip
import lzma
import re
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from palette.data.sources.manifest import Entry
from palette.data.sources.walk import walk
from palette.errors import DataError
from palette.system.files import replacing

RATIO = 100
"""Maximum expansion ratio of an archive. Images hardly compress, so anything above it is a decompression bomb."""
COMPRESSED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""First bytes of a compressed file → function that opens it."""
DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, ValueError, EOFError,
    OverflowError, IndexError, KeyError, NotImplementedError, RuntimeError, MemoryError,
)  # fmt: skip
"""Exceptions that the libraries raise for invalid or damaged archives."""
LINK, DEVICE = "link", "device"
UNIX_KINDS = {0: "", 0o100000: "", 0o040000: "", 0o120000: LINK}
"""File type in a Unix file mode → empty for files and folders; all others are devices."""


def members(path: Path) -> Iterator[Entry]:
    """Yield the files of an uncompressed tar or a ZIP.

    Entries have `file`, `bytes`, `offset`, in a ZIP also `crc` and `deflated`; or `file` and `reason`. Folders and
    hidden files are skipped. Raises DataError for files that are not archives, are damaged, or contain what no archive
    of images needs.
    """
    with _named(path):
        found = _zip_members(path) if _is_zip(path) else tar_members(path)
        total, most = 0, RATIO * path.stat().st_size
        for entry in found:
            if _is_hidden(entry["file"]):
                continue
            total += entry.get("bytes", 0)
            if total > most:
                raise DataError(f"{path}: unpacks to more than {RATIO} times its size (at {entry['file']}); refused.")
            yield entry


def files_in(place: Path) -> Iterator[Entry]:
    return members(place) if place.is_file() else ({"file": file} for file in walk(place))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def zip_names(path: Path) -> list[str] | None:
    """Return the names of a ZIP's files, from its directory; None for other archives, which have no directory."""
    with _named(path):
        if not _is_zip(path):
            return None
        with zipfile.ZipFile(path) as archive:
            names = [slashed(info.filename) for info in archive.infolist()]
        return [name for name in names if not name.endswith("/") and not _is_hidden(name)]


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(tarfile.BLOCKSIZE)
    # ZIPs are recognized by their end, as is a tar whose last file is a ZIP.
    return head[257:262] != b"ustar" and zipfile.is_zipfile(path)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn any exception that a library raises for a bad archive into a DataError that names the archive."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except DAMAGE as error:
        raise DataError(f"{path}: not an archive that can be read, or damaged ({error}). Get it again.") from None


def _refuse_unsafe(path: Path, name: str) -> None:
    """Raise DataError for a name that leads outside the folder that it would be unpacked to."""
    why = ""
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        why = "an absolute path"
    elif ".." in re.split(r"[/\\]", name):
        why = "a path that leads out of its folder"
    elif "\x00" in name or not name:
        why = "not a name"
    if why:
        raise DataError(f"{path}: contains {name!r}, {why}; the archive is refused. Look at it, and make a clean one.")


def tar_members(path: Path, start: int = 0, end: int | None = None) -> Iterator[Entry]:
    """Yield the files of a tar that spans bytes `start` to `end` of a file: a tar inside a tar needs no unpacking."""
    with _named(path), path.open("rb") as file:
        file.seek(start)
        last = -1
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # or all of a million stay in memory
                if info.offset <= last:
                    raise tarfile.ReadError(f"its entries go round in circles at byte {last}")
                if end is not None and info.offset >= end:
                    return
                last = info.offset
                yield from _tar_entry(path, info)
            if end is None or archive.offset < end:
                _refuse_no_end(file, archive.offset)


def _refuse_no_end(file: BinaryIO, offset: int) -> None:
    """Raise ReadError unless a tar ends with zeros: tarfile accepts anything, even the end of a truncated copy."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or block.strip(b"\0"):
        raise tarfile.ReadError(f"no header and no end at byte {offset}")


def _tar_entry(path: Path, info: tarfile.TarInfo) -> Iterator[Entry]:
    _refuse_unsafe(path, info.name)
    if info.isdir():
        return
    if not info.isreg():
        kind = LINK if info.issym() or info.islnk() else DEVICE
        raise DataError(f"{path}: contains a {kind}, {info.name!r}; the archive is refused. Make one of plain files.")
    name = info.name.removeprefix("./")
    sparse = {"file": name, "reason": "stored with holes (a sparse file)"}
    yield sparse if info.issparse() else {"file": name, "bytes": info.size, "offset": info.offset_data}


def expanded(path: Path, folder: Path) -> Path:
    """Return `path`, or an expanded copy in `folder` if it is compressed: images are read from it in any order."""
    with _named(path), path.open("rb") as file:
        head = file.read(6)
        opened = next((read for magic, read in COMPRESSED.items() if head.startswith(magic)), None)
        if opened is None:
            return path
        target = folder / f"{path.name}.expanded"
        if not target.exists():
            file.seek(0)
            with replacing(target) as temporary, opened(file) as source, temporary.open("wb") as out:
                _copy(path, source, out)
        return target


def _copy(path: Path, source: BinaryIO, out: BinaryIO) -> None:
    """Copy a decompressed stream. Raises DataError if it expands too much or does not fit on the disk."""
    done, most = 0, RATIO * path.stat().st_size
    while chunk := source.read(1 << 20):
        done += len(chunk)
        if done > most:
            raise DataError(f"{path}: unpacks to more than {RATIO} times its size; refused.")
        if done % (1 << 28) < len(chunk) and shutil.disk_usage(Path(out.name).parent).free < len(chunk) << 6:
            raise DataError(f"{path}: the disk of {Path(out.name).parent} is full. Free some space and run again.")
        out.write(chunk)


def _zip_members(path: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for info in archive.infolist():
            _refuse_unsafe(path, info.orig_filename)
            info.filename = slashed(info.filename)
            kind = (info.external_attr >> 16) & 0o170000 if info.create_system == 3 else 0
            if problem := UNIX_KINDS.get(kind, DEVICE):
                raise DataError(f"{path}: contains a {problem}, {info.filename!r}; the archive is refused.")
            if not info.is_dir():
                yield _zip_entry(file, info)


def slashed(name: str) -> str:
    """Return a ZIP member's name with `/`, for which some tools on Windows write backslashes."""
    return name.replace("\\", "/").removeprefix("./")


def _zip_entry(file: BinaryIO, info: zipfile.ZipInfo) -> Entry:
    if info.flag_bits & 0x1:
        return {"file": info.filename, "reason": "encrypted"}
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return {"file": info.filename, "reason": f"compressed by method {info.compress_type}; 0 and 8 are read"}
    file.seek(info.header_offset)
    head = file.read(30)
    if len(head) != 30 or head[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"no file at byte {info.header_offset}")
    name, extra = struct.unpack("<HH", head[26:30])
    place = {"offset": info.header_offset + 30 + name + extra, "crc": info.CRC}
    entry = {"file": info.filename, "bytes": info.file_size, **place}
    if info.compress_type == zipfile.ZIP_DEFLATED:
        return {**entry, "deflated": info.compress_size}
    if info.compress_size != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename!r} has two lengths")
    return entry


def read_member(path: Path, name: str, most: int = 512 << 20) -> bytes | None:
    """Return one small file of a ZIP or tar, compressed or not; None if it is missing or exceeds `most` bytes."""
    with _named(path):
        if _is_zip(path):
            with zipfile.ZipFile(path) as archive:
                found = next((item for item in archive.infolist() if slashed(item.filename) == name), None)
                return None if found is None or found.file_size > most else archive.read(found)
        with tarfile.open(path) as tar:
            for info in tar:
                if info.isreg() and info.name.removeprefix("./") == name and info.size <= most:
                    source = tar.extractfile(info)
                    return source.read() if source else None
    return None
