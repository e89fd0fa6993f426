"""Checkpoints are read without executing them; other files are refused with the reason."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from palette.cli import main
from palette.errors import DataError
from palette.interop.pickles import read_pickle, state_dict


class Hostile:
    """Would write a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "pickle"])
def test_hostile_file_is_refused_and_never_executed(
    new_format: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, target = tmp_path / "200_Network.pth", tmp_path / "written"
    content = {"denoise_fn.a": Hostile(target)}
    torch.save(content, file, _use_new_zipfile_serialization=new_format)
    assert main(["import", str(file), "-o", str(tmp_path / "m"), "--task", "inpainting"]) == 3
    message = capsys.readouterr().err
    assert "system`" in message
    assert "nothing in it was run" in message
    assert not target.exists()
    assert not (tmp_path / "m").exists()
    torch.load(file, weights_only=False)  # it is hostile indeed
    assert target.exists()


def write(file: Path, content: object, **options: Any) -> bytes:
    torch.save(content, file, **options)
    return file.read_bytes()


def test_old_and_new_formats_are_read(tmp_path: Path) -> None:
    content = {"a": torch.arange(3.0), "b": [1, "two"]}
    for index, new in enumerate((True, False)):
        file = tmp_path / f"{index}.pth"
        write(file, content, _use_new_zipfile_serialization=new)
        read = read_pickle(file)
        assert torch.equal(read["a"], content["a"])
        assert read["b"] == content["b"]


@pytest.mark.parametrize("new", [True, False], ids=["zip", "pickle"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_truncated_file(new: bool, share: float, tmp_path: Path) -> None:
    file = tmp_path / "200_Network.pth"
    whole = write(file, {"a": torch.randn(1000)}, _use_new_zipfile_serialization=new)
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=r"200_Network\.pth: truncated"):
        read_pickle(file)


def test_flipped_byte_is_detected(tmp_path: Path) -> None:
    file = tmp_path / "200_Network.pth"
    whole = bytearray(write(file, {"a": torch.zeros(1000)}))
    whole[len(whole) // 2] ^= 1
    file.write_bytes(whole)
    with pytest.raises(DataError, match="damaged"):
        read_pickle(file)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty"), (b"<html>not found</html>", "not a checkpoint"), (b"\x80\x02garbage", "truncated, damaged")],
)
def test_files_that_are_not_checkpoints(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "file.pth"
    file.write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_pickle(file)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_pickle(tmp_path / "nothing.pth")
    with pytest.raises(DataError, match="a folder"):
        read_pickle(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1, 2], "holds list"),
        ({}, "not a state dict"),
        ({"state_dict": {}, "epoch": 3}, "with the weights under 'state_dict', beside 1 other"),
        ({"a": np.float64(3)}, "numpy"),
    ],
)
def test_checkpoints_that_are_not_state_dicts(content: object, says: str, tmp_path: Path) -> None:
    file = tmp_path / "file.pth"
    write(file, content)
    with pytest.raises(DataError, match=says):
        state_dict(file)
