"""Downloads: a file is complete and checked under its final name, or absent.

A download resumes where it broke off, retries with growing pauses, falls back to mirrors, and is accepted only if its
length and checksum are the known ones. Runs that want the same file wait for the one that downloads it.

`requests` handles redirects, TLS, the usual proxy variables, and bodies whose length is checked. Resuming is done here,
because the common libraries (pooch, the loaders of torchvision and torch.hub) start over after each break, and
huggingface_hub, which resumes, does so only for its own server.
"""

import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from palette.errors import DataError
from palette.system.files import write_text
from palette.system.locks import held
from palette.system.progress import Progress

if TYPE_CHECKING:
    from requests import Response

CHUNK = 1 << 20
TIMEOUT = (20.0, 60.0)
"""Seconds to connect, and between two pieces of the body, after which a stalled server is given up."""
ATTEMPTS = 6
"""Attempts at one address without a new byte, after which it is given up."""
LONGEST_PAUSE = 60.0
"""Longest pause between attempts, in seconds."""
GONE = (400, 401, 403, 404, 405, 410, 451)
"""Status codes after which retrying is useless."""


@dataclass(frozen=True)
class Remote:
    """File that others publish.

    urls: its address, then mirrors. bytes, sha256, md5: its known length and checksums; without a checksum, any content
    is accepted, and its SHA-256 is written next to it for the next time. about: what it is and how else to get it, for
    messages.
    """

    name: str
    urls: tuple[str, ...]
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    about: str = ""


class _Failed(Exception):
    """Failed attempt to download a file; `final` if further attempts at this address would fail too."""

    def __init__(self, why: str, final: bool = False, pause: float = 0.0) -> None:
        super().__init__(why)
        self.final = final
        self.pause = pause


class _Wrong(Exception):
    """Complete download with other bytes than the known ones."""


def download(remote: Remote, path: Path, sleep: Callable[[float], None] = time.sleep) -> None:
    """Download a file to `path`, unless it exists. Raises DataError that says what each address answered.

    The bytes so far are in `.<name>.part` next to it, for the next attempt or the next run.
    """
    with alone(path):
        if path.is_file():
            return
        free = shutil.disk_usage(path.parent).free
        if remote.bytes and remote.bytes - _size(part_of(path)) > free:
            raise DataError(
                f"{path}: has {remote.bytes / 1e9:.1f} GB, and the disk has {free / 1e9:.1f} GB free. "
                "Free some space, or name a folder on another disk."
            )
        failures = []
        for url in remote.urls:
            try:
                _get(remote, url, path, sleep)
                return
            except _Failed as failure:
                failures.append(f"\n  {url}: {failure}")
        raise DataError(
            f"{path}: the download failed.{''.join(failures) or ' Nobody publishes it at an address.'}\n"
            f"  {remote.about or 'Get it by other means and put it there.'}"
        )


def alone(path: Path) -> AbstractContextManager[bool]:
    """Return a context manager that holds a lock that belongs to `path`."""
    return held(path.with_name(f".{path.name}.lock"))


def part_of(path: Path) -> Path:
    """Return the path of the bytes of an unfinished download."""
    return path.with_name(f".{path.name}.part")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _get(remote: Remote, url: str, path: Path, sleep: Callable[[float], None]) -> None:
    """Download from one address, in as many attempts as needed. Raises _Failed."""
    part, most, vain = part_of(path), 0, 0
    resumed = part.exists()
    while True:
        try:
            _attempt(remote, url, part)
            _finish(remote, part, path)
            return
        except _Wrong as failure:
            if not resumed:
                raise _Failed(str(failure)) from None
            resumed = False  # the old bytes may be the wrong ones
        except _Failed as failure:
            vain = 1 if _size(part) > most else vain + 1
            most = max(most, _size(part))
            if failure.final:
                raise
            if vain >= ATTEMPTS:
                raise _Failed(f"{failure}, {vain} times in a row") from None
            pause = min(LONGEST_PAUSE, max(failure.pause, 2.0**vain))
            print(f"download {remote.name}: {failure}; going on in {pause:.0f} s", file=sys.stderr, flush=True)
            sleep(pause)


def _attempt(remote: Remote, url: str, part: Path) -> None:
    """Make one request and append to `part` all that is missing. Raises _Failed if the server does not send it."""
    import requests  # only if something is downloaded, because plans import this module
    from urllib3.exceptions import HTTPError

    tag, have = _tag_of(part), _usable(remote, part)
    if have == remote.bytes:
        return
    headers = {"Accept-Encoding": "identity"}  # the length and the ranges of the file, not of a compressed form
    if have:
        headers["Range"] = f"bytes={have}-"
        if not _known(remote):  # the server sends the whole file if its version has changed
            headers["If-Range"] = tag.read_text(encoding="utf-8")
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            start = _start(response, have, part)
            total = _total(remote, response, start)
            if start == 0:
                write_text(tag, _version(response))
            if start != total:
                _append(response, part, start, total, remote.name)
    except requests.exceptions.InvalidSchema:
        raise _Failed("not an address that can be downloaded; `http` and `https` are", final=True) from None
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
        raise _Failed(str(error), final=True) from None
    except (requests.RequestException, HTTPError) as error:
        text = re.sub(r"<[^>]* at 0x[0-9a-f]+>:? ?", "", str(error))[:200]  # without addresses of objects
        raise _Failed(f"broke off ({type(error).__name__}: {text})") from None


def _usable(remote: Remote, part: Path) -> int:
    """Return the bytes in `part` from which to resume; delete it if it is too long, or might be of another version."""
    tag = _tag_of(part)
    sure = _known(remote) or (tag.exists() and tag.stat().st_size > 0)
    if not sure or _size(part) > (remote.bytes or _size(part)):
        part.unlink(missing_ok=True)
    return _size(part)


def _known(remote: Remote) -> bool:
    return bool(remote.sha256 or remote.md5)


def _tag_of(part: Path) -> Path:
    """Return the path of a file with the server's name (ETag or date) for the version whose bytes are in `part`."""
    return part.with_suffix(".tag")


def _version(response: "Response") -> str:
    tag = response.headers.get("ETag", "")
    return response.headers.get("Last-Modified", "") if tag.startswith("W/") else tag


def _start(response: "Response", have: int, part: Path) -> int:
    """Return the byte from which the server sends: `have`, or 0 if it ignores ranges or has another version."""
    status, ranged = response.status_code, response.headers.get("Content-Range", "")
    if status == 200:
        return 0
    if (status == 206 and ranged.startswith(f"bytes {have}-")) or (status == 416 and ranged.endswith(f"/{have}")):
        return have
    if status in (206, 416):
        part.unlink(missing_ok=True)
        raise _Failed(f"has no bytes from {have} on; begun anew")
    pause = response.headers.get("Retry-After", "")
    text = f"status {status} {response.reason or ''}".strip()
    raise _Failed(text, final=status in GONE, pause=float(pause) if pause.isdigit() else 0.0)


def _total(remote: Remote, response: "Response", start: int) -> int | None:
    """Return the bytes of the whole file as the server says, or as known. Raises _Failed if the two differ."""
    ranged = response.headers.get("Content-Range", "").rpartition("/")[2]
    length = response.headers.get("Content-Length", "")
    total = int(ranged) if ranged.isdigit() else None
    if total is None and length.isdigit():
        total = start + int(length)
    if remote.bytes and total and total != remote.bytes:
        raise _Failed(f"has another file: {total} bytes instead of {remote.bytes}", final=True)
    return total or remote.bytes


def _append(response: "Response", part: Path, start: int, total: int | None, name: str) -> None:
    """Write the body to `part` from byte `start` on. Raises _Failed if it is shorter or longer than `total`."""
    progress, done = Progress(f"download {name}", _megabytes(total or 0), "MB", _megabytes(start)), start
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        # Write what has arrived at once, so that a break loses nothing, and as it was sent: some servers declare `.tgz`
        # to be an encoding, and the decoded bytes would not be the known file.
        while chunk := response.raw.read1(CHUNK):
            file.write(chunk)
            done += len(chunk)
            progress.advance(_megabytes(done) - progress.done)
            if total and done > total:
                file.truncate(0)
                raise _Failed(f"sends more than the {total} bytes of the file", final=True)
    if total and done < total:
        raise _Failed(f"ends after {done} of {total} bytes")


def _megabytes(count: int) -> int:
    return -(-count // 10**6)


def _finish(remote: Remote, part: Path, path: Path) -> None:
    """Give a download with the known bytes its final name, its SHA-256 next to it; delete another and raise _Wrong."""
    sums = checksums(part)
    _tag_of(part).unlink(missing_ok=True)
    if wrong := mistake(remote, sums):
        part.unlink()
        raise _Wrong(f"sent other bytes than the known file has ({wrong})")
    with part.open("rb") as file:
        os.fsync(file.fileno())
    write_text(sum_file(path), f"{sums['sha256']}  {path.name}\n")
    part.replace(path)


def checksums(path: Path) -> dict[str, str]:
    """Return the SHA-256, MD5 and length of a file, read once: {"sha256": …, "md5": …, "bytes": …}."""
    hashes = {"sha256": hashlib.sha256(), "md5": hashlib.md5(usedforsecurity=False)}
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            for digest in hashes.values():
                digest.update(chunk)
    return {name: digest.hexdigest() for name, digest in hashes.items()} | {"bytes": str(path.stat().st_size)}


def mistake(remote: Remote, sums: dict[str, str]) -> str:
    """Return how a file differs from what is known of it, or an empty string. MD5 counts if no SHA-256 is known."""
    if remote.bytes is not None and sums["bytes"] != str(remote.bytes):
        return f"{sums['bytes']} bytes, expected {remote.bytes}"
    name = "sha256" if remote.sha256 else "md5"
    expected = remote.sha256 or remote.md5
    return "" if expected in (None, sums[name]) else f"{name} {sums[name]}, expected {expected}"


def sum_file(path: Path) -> Path:
    """Return the path of a download's checksum file, in the format of `sha256sum`."""
    return path.with_name(f"{path.name}.sha256")


def pinned(path: Path) -> str | None:
    """Return the SHA-256 that a file had when it was downloaded; None if it was not downloaded here."""
    file = sum_file(path)
    words = file.read_text(encoding="utf-8").split() if file.exists() else []
    return words[0] if words and re.fullmatch("[0-9a-f]{64}", words[0]) else None
