"""Files are complete or absent, and unexpected content is reported."""

import errno
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from palette.errors import DataError
from palette.system.files import read_json, replacing, write_json


def test_written_data_is_read_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, {"c": "ü"}]})
    found = read_json(tmp_path / "a.json")
    assert found == {"b": [1, {"c": "ü"}]}
    assert json.loads(json.dumps(found)) == found
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("text", "says"), [(None, "no such file"), ("{", "not readable as JSON"), ("{}", "has no entry 'scores'")]
)
def test_an_unexpected_file_is_named(tmp_path: Path, text: str | None, says: str) -> None:
    file = tmp_path / "scores.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DataError, match=rf"{file}: {says}"):
        read_json(file)["scores"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_reported_whatever_the_library_says(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the disk has room, and this user's quota has none."""

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    for said in ("PytorchStreamWriter failed writing file", f"I/O error: {os.strerror(number)} (os error {number})"):
        with pytest.raises(OSError, match=os.strerror(number)) as error, replacing(tmp_path / "a"):
            raise RuntimeError(said)
        assert (error.value.errno, error.value.filename) == (number, str(tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


def test_other_errors_are_unchanged(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="PytorchStreamWriter"), replacing(tmp_path / "a"):
        raise RuntimeError("PytorchStreamWriter failed writing file")
    assert list(tmp_path.iterdir()) == []


def save_with_torch(path: Path) -> None:
    torch.save({"weights": torch.zeros(1_000_000)}, path)


def save_with_safetensors(path: Path) -> None:
    save_file({"weights": torch.zeros(1_000_000)}, path)


@pytest.mark.parametrize("save", [save_with_torch, save_with_safetensors])
def test_a_file_at_its_size_limit(save: Callable[[Path], None], tmp_path: Path) -> None:
    """By the libraries themselves, on a disk that has room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as error, replacing(tmp_path / "a"):
            save(next(tmp_path.iterdir()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.filename == str(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_bytes_are_on_disk_before_the_file_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: (done.append(f"sync {os.fstat(file).st_size}"), fsync(file)))
    monkeypatch.setattr(Path, "replace", lambda self, path: (done.append("rename"), replace(self, path)))
    write_json(tmp_path / "a.json", 12)
    assert done == ["sync 3", "rename"]
