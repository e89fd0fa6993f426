"""ZIP files with uncompressed members, written by appending and read by random access.

Python's `zipfile` supports the same format, but keeps half a kilobyte in memory for each member, and cannot continue a
file whose writer was killed. Here members are appended one by one, and the directory at the end is made from a list
that may come from disk. The format is APPNOTE.TXT 6.3.10, with ZIP64 where offsets or counts need it.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s4B4H3L5H2L")
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
DATE = 1 << 5 | 1
"""1980-01-01, the format's first day: the same members must give the same bytes on any day."""
MODE = 0o644 << 16
UTF8 = 1 << 11
FULL, FULL64 = 0xFFFF, 0xFFFFFFFF
"""Values that refer to the ZIP64 field."""


class Member(NamedTuple):
    """Location of a member: `offset` of its local header, `size` and `crc` of its data."""

    name: str
    offset: int
    size: int
    crc: int


class NotStored(ValueError):
    """The file is not a ZIP of uncompressed members, or it is damaged."""


def append(file: BinaryIO, name: str, data: bytes) -> Member:
    """Write a member at the position of `file`, which must be its end."""
    member = Member(name, file.tell(), len(data), zlib.crc32(data))
    file.write(_local(member))
    file.write(data)
    return member


def append_stream(file: BinaryIO, name: str, chunks: Iterable[bytes]) -> Member:
    """Write a member whose data come in pieces; below 4 GiB."""
    offset, crc, size = file.tell(), 0, 0
    file.write(_local(Member(name, offset, 0, 0)))
    for chunk in chunks:
        crc, size = zlib.crc32(chunk, crc), size + len(chunk)
        file.write(chunk)
    member = Member(name, offset, size, crc)
    file.seek(offset)
    file.write(_local(member))
    file.seek(0, os.SEEK_END)
    return member


def _local(member: Member) -> bytes:
    name = member.name.encode()
    if member.size >= FULL64:
        raise NotStored(f"{member.name}: {member.size} bytes; members of 4 GiB or more are not written")
    flags = 0 if name.isascii() else UTF8
    head = LOCAL.pack(b"PK\3\4", 20, flags, 0, 0, DATE, member.crc, member.size, member.size, len(name), 0)
    return head + name


def finish(file: BinaryIO, members: Iterable[Member]) -> None:
    start, count = file.tell(), 0
    for member in members:
        file.write(_central(member))
        count += 1
    end = file.tell()
    if count >= FULL or start >= FULL64 or end - start >= FULL64:
        file.write(END64.pack(b"PK\6\6", END64.size - 12, 45, 45, 0, 0, count, count, end - start, start))
        file.write(LOCATOR.pack(b"PK\6\7", 0, end, 1))
    stated = min(count, FULL)
    file.write(END.pack(b"PK\5\6", 0, 0, stated, stated, min(end - start, FULL64), min(start, FULL64), 0))


def _central(member: Member) -> bytes:
    name = member.name.encode()
    far = member.offset >= FULL64
    extra = struct.pack("<2HQ", 1, 8, member.offset) if far else b""
    version, flags = 45 if far else 20, 0 if name.isascii() else UTF8
    offset = min(member.offset, FULL64)
    head = CENTRAL.pack(
        b"PK\1\2", version, 3, version, 0, flags, 0, 0, DATE, member.crc, member.size, member.size, len(name), len(extra), 0, 0, 0,
        MODE, offset,
    )  # fmt: skip
    return head + name + extra


@dataclass(frozen=True)
class Directory:
    """Members of a ZIP in order, as arrays with 20 bytes per member. `names()` returns their names."""

    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    crc: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.offset)


def directory(file: int, length: int) -> tuple[Directory, bytes]:
    """Return the directory of an open file of `length` bytes, parsed and as bytes. Raises NotStored or OSError."""
    start, size, count = _end(file, length)
    data = read_at(file, size, start)
    if count > size // CENTRAL.size:
        raise NotStored("its directory is cut off")
    found = Directory(np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.uint32))
    for index, (member, method) in enumerate(_members(data, count)):
        if method or member.offset + member.size > start:
            raise NotStored(f"{member.name} is {'compressed' if method else 'cut off'}")
        found.offset[index], found.size[index], found.crc[index] = member[1:]
    return found, data


def names(data: bytes, count: int) -> list[str]:
    return [member.name for member, _ in _members(data, count)]


def _end(file: int, length: int) -> tuple[int, int, int]:
    """Return the start of the directory, its size, and its number of members."""
    tail_start = max(0, length - END.size - FULL - LOCATOR.size)
    tail = read_at(file, length - tail_start, tail_start)
    place = tail.rfind(b"PK\5\6")
    if place < 0 or place + END.size > len(tail):
        raise NotStored("it has no directory")
    _, _, _, _, count, size, start, _ = END.unpack_from(tail, place)
    if tail[place - LOCATOR.size : place - LOCATOR.size + 4] == b"PK\6\7" and place >= LOCATOR.size:
        _, _, place64, _ = LOCATOR.unpack_from(tail, place - LOCATOR.size)
        record = read_at(file, END64.size, place64)
        mark, _, _, _, _, _, _, count, size, start = END64.unpack(record)
        if mark != b"PK\6\6":
            raise NotStored("its directory is damaged")
    if start + size > length:
        raise NotStored("its directory is cut off")
    return start, size, count


def _members(data: bytes, count: int) -> Iterator[tuple[Member, int]]:
    place = 0
    for _ in range(count):
        if place + CENTRAL.size > len(data):
            raise NotStored("its directory is cut off")
        entry = CENTRAL.unpack_from(data, place)
        mark, method, crc, size = entry[0], entry[6], entry[9], entry[11]
        name_size, extra_size, comment_size, offset = *entry[12:15], entry[18]
        if mark != b"PK\1\2":
            raise NotStored("its directory is damaged")
        place += CENTRAL.size
        name = data[place : place + name_size].decode("utf-8", "replace")
        if FULL64 in (offset, size):
            size, offset = _far(data[place + name_size : place + name_size + extra_size], size, offset)
        place += name_size + extra_size + comment_size
        yield Member(name, offset, size, crc), method


def _far(extra: bytes, size: int, offset: int) -> tuple[int, int]:
    """Return size and offset from the ZIP64 field: the size twice, then the offset, each only if it is full before."""
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, place)
        if kind == 1:
            values = struct.unpack_from(f"<{length // 8}Q", extra, place + 4)
            if size == FULL64 and len(values) >= 2:
                size, values = values[0], values[2:]
            return size, values[0] if offset == FULL64 and values else offset
        place += 4 + length
    raise NotStored("its directory is damaged")


def read_member(file: int, offset: int, size: int, crc: int) -> bytes:
    """Return the data of a member, checked against its CRC-32. Raises NotStored or OSError."""
    head = read_at(file, LOCAL.size, offset)
    mark, *_, name_size, extra_size = LOCAL.unpack(head)
    if mark != b"PK\3\4":
        raise NotStored("its header is damaged")
    data = read_at(file, size, offset + LOCAL.size + name_size + extra_size)
    if zlib.crc32(data) != crc:
        raise NotStored("its bytes do not match their CRC-32")
    return data


def read_at(file: int, size: int, offset: int) -> bytes:
    """Read exactly `size` bytes at `offset`, without moving the file position, which threads and processes share."""
    data = os.pread(file, size, offset)
    while len(data) < size:  # more than 2 GiB, or a file system that returns less than requested
        more = os.pread(file, size - len(data), offset + len(data))
        if not more:
            raise NotStored("it is cut off")
        data += more
    return data
