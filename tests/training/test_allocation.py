"""The time limit of a Slurm job, with stand-ins for Slurm's commands; tests/slurm uses a real Slurm."""

import math
from pathlib import Path

import pytest

from palette.stages.train import TrainRuntime
from palette.system.jobs import SUBMITTED
from palette.training import allocation
from palette.training.loop import train
from tests.tiny import pictures, train_spec
from tests.training.test_machine import CPU


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("4:05", 245),
        ("3:04:05\n", 11_045),
        ("2-03:04:05", 183_845),
        ("0:00", 0),
        ("UNLIMITED", math.inf),
        ("INVALID", math.inf),
        ("", math.inf),
    ],
)
def test_slurm_times_are_parsed(text: str, seconds: float) -> None:
    assert allocation.seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("total", "left", "near"), [(600, 61, False), (600, 59, True), (1e5, 301, False), (1e5, 299, True)]
)
def test_the_end_is_near_when_a_tenth_or_five_minutes_are_left(
    total: float, left: float, near: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocation.time, "monotonic", lambda: total - left)
    assert allocation.Allocation("7", total, began=0.0).nearly_over == near


def test_outside_of_a_job_time_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SUBMITTED, raising=False)
    assert not allocation.allocation().nearly_over


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task of an array, with no time left; the file has what Slurm's commands were called with."""
    calls = tmp_path / "calls"
    call = f'echo "$(basename $0) $*" >> {calls}'
    for name, script in (("squeue", f"{call}; echo 0:00"), ("scontrol", f"{call}; exit ${{REFUSED:-0}}")):
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    for name, value in {"SLURM_JOB_ID": "20", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(allocation, "SHARE", 1.0)
    return calls


@pytest.mark.parametrize("refused", ["0", "1"])
def test_a_training_out_of_time_saves_and_is_requeued(
    refused: str, slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, and it goes on until Slurm ends it; so it does where Slurm will not have it."""
    monkeypatch.setenv("REFUSED", refused)
    monkeypatch.setenv(SUBMITTED, "17_3")
    spec = train_spec(steps=4, runtime=TrainRuntime(checkpoint_every=100, checkpoints_kept=9))
    assert train(spec, pictures(20), tmp_path / "state", CPU).step == 4
    assert slurm.read_text() == "squeue --noheader --format=%L --jobs=17_3\nscontrol requeue 17_3\n"
    assert [file.name for file in sorted((tmp_path / "state").glob("*.pt"))] == ["step-00000001.pt", "step-00000004.pt"]
    assert ("could not be queued again" in capsys.readouterr().err) == (refused == "1")


def test_the_users_own_job_is_left_alone(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SUBMITTED, raising=False)
    assert train(train_spec(steps=2), pictures(20), tmp_path / "state", CPU).step == 2
    assert not slurm.exists()


def test_each_run_of_a_job_makes_progress(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one that is out of time from the beginning; and the last step needs no further run."""
    monkeypatch.setenv(SUBMITTED, "17")
    requeued: list[int] = []

    def end(job: allocation.Allocation) -> None:
        """Slurm ends the run; the state that the next one begins with is saved by then."""
        requeued.append(max(int(file.stem.removeprefix("step-")) for file in (tmp_path / "state").glob("step-*.pt")))
        raise KeyboardInterrupt

    monkeypatch.setattr(allocation.Allocation, "requeue", end)
    spec = train_spec(steps=3, runtime=TrainRuntime(checkpoint_every=100))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(spec, pictures(20), tmp_path / "state", CPU)
    assert train(spec, pictures(20), tmp_path / "state", CPU).step == 3
    assert requeued == [1, 2]
