"""Leases of devices, with a stand-in for `nvidia-smi`: no device is held twice, and dead jobs hold none."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from palette.system import gpu_lease

DEVICES = [f"GPU-{letter * 8}" for letter in "abcd"]
HOLD = "import time; from palette.system.gpu_lease import lease\nwith lease({count}) as held: print(*held, flush=True); time.sleep(60)"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four devices, and a folder of locks of the test's own."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\nprintf '%s\\n' " + " ".join(DEVICES) + "\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return tmp_path


def hold(count: int) -> "subprocess.Popen[str]":
    """Another process that takes a lease."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD.format(count=count)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def held_by(process: "subprocess.Popen[str]") -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


@pytest.mark.usefixtures("machine")
def test_jobs_get_different_devices_and_a_killed_one_frees_its_own() -> None:
    jobs = [hold(1), hold(1), hold(2)]
    try:
        taken = [held_by(job) for job in jobs]
        assert sorted(device for devices in taken for device in devices) == DEVICES
        waiting = hold(2)
        jobs.append(waiting)
        time.sleep(1)
        assert waiting.poll() is None
        jobs[2].send_signal(signal.SIGKILL)
        assert sorted(held_by(waiting)) == sorted(taken[2])
    finally:
        for job in jobs:
            job.kill()
            job.wait()


@pytest.mark.usefixtures("machine")
def test_only_the_leased_devices_are_visible() -> None:
    with gpu_lease.lease(2) as held:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ",".join(held)
        assert len(held) == 2


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("given", "pool"), [("1,3", [DEVICES[1], DEVICES[3]]), (DEVICES[2], [DEVICES[2]]), ("MIG-x", ["MIG-x"]), ("", [])]
)
def test_the_pool_is_what_the_parent_allows(given: str, pool: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert gpu_lease.visible() == pool
    with gpu_lease.lease(8) as held:
        assert sorted(held) == sorted(pool)


def test_without_devices_a_job_runs_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with gpu_lease.lease(4) as held:
        assert held == []
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.usefixtures("machine")
def test_a_job_that_requests_none_sees_none() -> None:
    with gpu_lease.lease(0):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.usefixtures("machine")
def test_a_large_job_gets_its_turn_while_small_ones_keep_coming() -> None:
    jobs = [hold(1) for _ in DEVICES]
    try:
        for job in jobs:
            assert len(held_by(job)) == 1
        jobs.append(large := hold(4))
        assert large.stderr is not None
        assert "waiting for 4" in large.stderr.readline()
        jobs.append(late := hold(1))
        assert late.stderr is not None
        assert "waiting for 1" in late.stderr.readline()
        jobs[0].kill()
        time.sleep(1)
        assert late.poll() is None
        for job in jobs[1:4]:
            job.kill()
        assert sorted(held_by(large)) == DEVICES
        large.kill()
        assert len(held_by(late)) == 1
    finally:
        for job in jobs:
            job.kill()
            job.wait()


@pytest.mark.usefixtures("machine")
def test_a_job_that_dies_while_waiting_blocks_no_other() -> None:
    jobs = [hold(1)]
    try:
        held_by(jobs[0])
        jobs.append(large := hold(4))
        assert large.stderr is not None
        large.stderr.readline()
        jobs.append(late := hold(1))
        assert late.stderr is not None
        late.stderr.readline()
        large.kill()
        assert len(held_by(late)) == 1
    finally:
        for job in jobs:
            job.kill()
            job.wait()


@pytest.mark.usefixtures("machine")
def test_a_job_waiting_for_some_devices_does_not_block_jobs_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", DEVICES[0])
    with gpu_lease.lease(1):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", DEVICES[0])
        waiting = hold(1)
        try:
            assert waiting.stderr is not None
            assert "waiting for 1" in waiting.stderr.readline()
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", DEVICES[1])
            monkeypatch.setattr(gpu_lease, "time", SimpleNamespace(sleep=lambda _: pytest.fail("waits")))
            with gpu_lease.lease(1) as held:
                assert held == [DEVICES[1]]
        finally:
            waiting.kill()
            waiting.wait()


FAKE_TORCH = "class cuda:\n    device_count = staticmethod(lambda: 2)\n"


@pytest.mark.parametrize("driver", [True, False])
def test_without_nvidia_smi_the_devices_are_those_that_torch_finds(
    driver: bool, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "torch.py").write_text(FAKE_TORCH)
    monkeypatch.setenv("PATH", str(machine / "empty"))
    monkeypatch.setenv("PYTHONPATH", str(machine))
    monkeypatch.setattr(gpu_lease, "_has_driver", lambda: driver)
    with gpu_lease.lease(8) as held:
        assert held == (["0", "1"] if driver else [])
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ("0,1" if driver else "")


@pytest.mark.usefixtures("machine")
def test_a_job_of_slurm_waits_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its devices are its own, though they be called 0 in each job."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with gpu_lease.lease(1) as here:
        monkeypatch.setenv("SLURM_JOB_ID", "8")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
        with gpu_lease.lease(1) as there:
            assert here == there
