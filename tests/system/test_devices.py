"""Freed memory that is kept, and a GPU that cannot be used."""

import platform
import subprocess
import sys

import pytest

from palette.system import devices

FAULTS = """
import ctypes, resource
from palette.system import devices

{setting}
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.memset.argtypes, libc.free.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t], [ctypes.c_void_p]

def step():
    pieces = [libc.malloc(20 << 20) for _ in range(8)]
    for piece in pieces:
        libc.memset(piece, 1, 20 << 20)
    for piece in reversed(pieces):
        libc.free(piece)

for _ in range(2):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults_of_a_step(setting: str) -> int:
    """Pages that the system hands out in the third of three equal steps, which each use 160 MiB and free it."""
    code = FAULTS.format(setting=setting)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_step_reuses_the_memory_of_the_last() -> None:
    assert faults_of_a_step("") > 10_000
    assert faults_of_a_step("devices.keep_memory()") < 1000


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda _: pytest.fail("was asked"))
    devices.keep_memory()


@pytest.mark.parametrize(("visible", "says"), [("GPU-aaaa", True), ("", False), (None, False)])
def test_a_gpu_that_torch_cannot_use_is_reported(
    visible: str | None, says: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert not devices.has_gpu()
    assert ("CUDA_VISIBLE_DEVICES=GPU-aaaa): computing on the CPU" in capsys.readouterr().err) == says
