"""Files that are complete or absent: everything is written next to its final name, then renamed."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from palette.errors import DataError

ROOM = 1 << 20
"""Bytes written to test for a full disk."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success flush it to disk and rename it to `path`.

    A crash at any moment leaves either the old file or the new one under the final name. The temporary name carries the
    process id, so that two writers of the same file cannot mix their bytes. Raises OSError if the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # as for any new file; safetensors writes files that only their owner may read
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    except Exception as error:  # each library reports a full disk in its own way
        if number := _refused(error, temporary):
            raise OSError(number, os.strerror(number), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _refused(error: Exception, file: Path) -> int | None:
    """Return the number of the system error behind a library's `error` in writing `file`; None if there is none.

    Libraries in Rust state it. Otherwise a test write finds it: a quota may leave room that this user may not use.
    """
    if stated := re.search(r"\(os error (\d+)\)", str(error)):
        return int(stated[1])
    try:
        with file.open("ab") as end:
            end.write(bytes(ROOM))
            end.flush()
            os.fsync(end.fileno())
    except OSError as refused:
        return refused.errno
    return None


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8 with newlines as given."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON. Keys keep their order; equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


class Entries(dict[str, Any]):
    """Entries of a JSON file by name. A missing name raises DataError that names the file."""

    def __init__(self, entries: dict[str, Any], path: Path) -> None:
        super().__init__(entries)
        self._path = path

    def __missing__(self, name: str) -> Any:
        raise DataError(f"{self._path}: has no entry {name!r}. Delete it and run `snakemake` again.")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises DataError that names the file and the place of the mistake."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Entries(content, path) if isinstance(content, dict) else content
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Run the stage that makes it (`snakemake` does).") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}). Delete it and run `snakemake` again.") from None


def sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
