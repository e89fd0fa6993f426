"""Full read and decode of every file of a source: it becomes a manifest entry, or is rejected with the reason."""

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
"""Maximum size of an image file in bytes; anything larger would only fill the memory."""


def checked(opener: Opener, entries: Iterable[Entry], threads: int) -> Iterator[Entry]:
    """Yield the entries in order, each completed with the facts from its bytes or with the reason for its rejection."""
    return ordered(partial(check, opener), entries, threads)


def check(opener: Opener, entry: Entry) -> Entry:
    """Return the entry with `bytes`, `sha256` and `size`, for its condition too; or `{"file": …, "reason": …}`."""
    if "reason" in entry:
        return _rejected(entry, entry["reason"])
    checked = _check_one(opener, entry)
    if "condition" not in entry or "reason" in checked:
        return checked
    condition = _check_one(opener, entry["condition"])
    if "reason" in condition:
        return {"file": entry["file"], "reason": f"its condition {condition['file']}: {condition['reason']}"}
    return {**checked, "condition": condition}


def _rejected(entry: Entry, reason: str) -> Entry:
    """Return a rejected entry, whose name can be written as UTF-8."""
    file = entry["file"]
    return {**entry, "file": ascii(file) if _not_utf8(file) else file, "reason": reason}


def _check_one(opener: Opener, entry: Entry) -> Entry:
    reason = _by_place(opener, entry)
    try:
        if not reason:
            return _complete(entry, opener.read(entry))
    except UnidentifiedImageError:
        reason = "not an image, despite its file extension"
    except zlib.error as error:
        reason = f"damaged in its archive ({error})"
    except UNREADABLE as error:
        refused = error.strerror if isinstance(error, OSError) else None  # refused by the disk, not by Pillow
        reason = f"not readable ({refused})" if refused else f"damaged or not supported ({error})"
    return _rejected({"file": entry["file"]}, reason)


def _complete(entry: Entry, data: bytes) -> Entry:
    """Return the entry with the facts from its bytes. `size`: width and height as displayed, after EXIF orientation."""
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
    """Return why a file is rejected without being read; empty if it is not."""
    if _not_utf8(entry["file"]):
        return "its name is not UTF-8"
    place = opener.place(entry)
    if "offset" not in entry and not place.is_file():
        return "not a regular file, or a link to nowhere"
    size = entry["bytes"] if "offset" in entry else place.stat().st_size
    return f"larger than {LARGEST >> 20} MiB" if size > LARGEST else ""


def _not_utf8(file: str) -> bool:
    """Return whether a name contains surrogates, with which Python represents bytes that are not UTF-8."""
    return any("\ud800" <= letter <= "\udfff" for letter in file)
