"""Saved states: complete or skipped, the newest two kept, one trainer at a time."""

import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from palette.errors import DataError
from palette.training.checkpoint import States, load, readable


def state(step: int) -> dict[str, Any]:
    return {
        "step": step,
        "earlier": 0,
        "seconds": 1.5,
        "skipped": 0,
        "network": {"w": torch.ones(500)},
        "averages": [torch.ones(3)],
        "by_width": {0.05: [torch.ones(3)]},
        "optimizer": {},
        "scaler": {},
    }


def test_the_newest_two_and_those_of_longer_trainings_are_kept(tmp_path: Path) -> None:
    states = States(tmp_path)
    for step in (10, 20, 100, 30):
        states.save(state(step))
    assert states.steps(1000) == [100, 30, 20]
    assert [file.name for file in sorted(tmp_path.iterdir())] == [
        "step-00000020.pt",
        "step-00000030.pt",
        "step-00000100.pt",
    ]
    assert states.newest(99) == tmp_path / "step-00000030.pt"
    assert states.newest(5) is None
    assert load(states.path(30))["seconds"] == 1.5


@pytest.mark.parametrize("damage", ["truncated", "bit", "empty"])
def test_a_damaged_state_is_skipped(tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    states = States(tmp_path)
    states.save(state(10))
    states.save(state(20))
    data = bytearray(states.path(20).read_bytes())
    if damage == "bit":
        data[data.index(torch.ones(500).numpy().tobytes()) + 700] ^= 1
    states.path(20).write_bytes({"truncated": data[: len(data) // 2], "bit": data, "empty": b""}[damage])
    assert not readable(states.path(20))
    assert states.newest(100) == states.path(10)
    assert "step-00000020.pt: damaged training state, skipped" in capsys.readouterr().err


def test_milestones_are_kept(tmp_path: Path) -> None:
    states = States(tmp_path, kept=1, milestones=(20,))
    for step in (10, 20, 30, 40):
        states.save(state(step))
    assert states.steps(1000) == [40, 20]


def test_a_state_of_another_version_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    states = States(tmp_path)
    states.save(state(10))
    old = state(20)
    del old["scaler"]
    torch.save(old, states.path(20))
    torch.save(torch.nn.Linear(1, 1), states.path(30))  # a pickle of code, which is not run
    with zipfile.ZipFile(states.path(40), "w") as archive:
        archive.writestr("something", "else")
    assert states.newest(100) == states.path(10)
    said = capsys.readouterr().err
    assert "step-00000020.pt: training state of another version (scaler more or less than here), skipped" in said
    assert "step-00000030.pt: not a training state, skipped" in said
    assert "step-00000040.pt: not a training state, skipped" in said


@pytest.mark.parametrize("part", ["network", "averages", "by_width"])
def test_a_state_with_nan_is_skipped(tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    states, broken = States(tmp_path), torch.tensor([1.0, float("nan")])
    states.save(state(10))
    states.save(
        state(20) | {part: {"network": {"w": broken}, "averages": [broken], "by_width": {0.05: [broken]}}[part]}
    )
    assert states.newest(100) == states.path(10)
    assert "step-00000020.pt: training state with values that are not finite, skipped" in capsys.readouterr().err


def test_a_state_not_visible_on_this_machine(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be on a disk that all machines see"):
        load(tmp_path / "step-00000010.pt")


def test_a_second_trainer_waits_for_the_first(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from palette.training.checkpoint import States\n"
        "with States(Path(sys.argv[1])).lock(): print('in', flush=True)"
    )
    with States(tmp_path).lock():
        second = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert second.stderr is not None
        assert "another process is training this; waiting" in second.stderr.readline()
        time.sleep(0.2)
        assert second.poll() is None
    assert second.communicate(timeout=20)[0] == "in\n"
