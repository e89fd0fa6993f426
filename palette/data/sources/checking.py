"""Every file of a source is read and decoded completely: it becomes an entry of the manifest, or is left out with the reason."""

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from functools import partial

from PIL import UnidentifiedImageError

from palette.data.images.depth import ANY
from palette.data.images.pictures import UNREADABLE, read_picture
from palette.data.sources.manifest import Entry, Opener
from palette.system.parallel import ordered

LARGEST = 512 << 20
"""Bytes of the largest file that is taken for a picture; more would only be a way to fill the memory."""


def checked(opener: Opener, entries: Iterable[Entry], threads: int) -> Iterator[Entry]:
    """The entries in their order, each completed by what its bytes say, or with the reason why it is left out."""
    return ordered(partial(check, opener), entries, threads)


def check(opener: Opener, entry: Entry) -> Entry:
    """The entry with `bytes`, `sha256` and `size`, also those of its condition; or `{"file": …, "reason": …}`."""
    if "reason" in entry:
        return {**entry, "file": _readable(entry["file"])}
    made = check_one(opener, entry)
    if "condition" not in entry or "reason" in made:
        return made
    condition = check_one(opener, entry["condition"])
    if "reason" in condition:
        return {"file": entry["file"], "reason": f"its condition {condition['file']}: {condition['reason']}"}
    return {**made, "condition": condition}


def check_one(opener: Opener, entry: Entry) -> Entry:
    """The same of one file."""
    reason = _by_place(opener, entry)
    try:
        if not reason:
            return _complete(entry, opener.read(entry))
    except UnidentifiedImageError:
        reason = "not an image, despite its file extension"
    except zlib.error as error:
        reason = f"damaged in its archive ({error})"
    except UNREADABLE as error:
        refused = error.strerror if isinstance(error, OSError) else None  # by the disk, not by Pillow
        reason = f"not readable ({refused})" if refused else f"damaged or not supported ({error})"
    return {"file": _readable(entry["file"]), "reason": reason}


def _complete(entry: Entry, data: bytes) -> Entry:
    """The entry with what its bytes say. `size` is width and height as seen, after EXIF orientation."""
    if entry.get("bytes", len(data)) != len(data):
        raise OSError(f"{len(data)} bytes instead of {entry['bytes']}")
    if entry.get("crc") not in (None, zlib.crc32(data)):
        raise zlib.error("its bytes do not match their CRC-32")
    picture = read_picture(data, value_range=ANY)
    facts = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "size": list(picture.pixels.size)}
    if picture.values:
        facts |= {"values": list(picture.values.measured)} | ({} if picture.values.clear else {"unclear": True})
    if entry.get("sha256", facts["sha256"]) != facts["sha256"]:
        raise OSError("other bytes than its source says")
    return {**entry, **facts}


def _by_place(opener: Opener, entry: Entry) -> str:
    """Why a file is not even to be read, or nothing."""
    if _not_utf8(entry["file"]):
        return "its name is not UTF-8"
    place = opener.place(entry)
    if "offset" not in entry and not place.is_file():
        return "not a regular file, or a link to nowhere"
    size = entry["bytes"] if "offset" in entry else place.stat().st_size
    return f"larger than {LARGEST >> 20} MiB" if size > LARGEST else ""


def _readable(file: str) -> str:
    """A name as text that can be written."""
    return ascii(file) if _not_utf8(file) else file


def _not_utf8(file: str) -> bool:
    """Surrogates are how Python reads bytes that are not UTF-8."""
    return any("\ud800" <= letter <= "\udfff" for letter in file)
