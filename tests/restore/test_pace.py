"""Predictions of `restore`: how long it takes, and what fits into memory."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

import palette
from palette.diffusion.inference import Restorer
from palette.errors import DataError, out_of_memory
from palette.restore import pace
from palette.restore.canvas import Request
from palette.restore.memory import free_memory, within_memory
from tests.costs.test_arithmetic import counter_of
from tests.tiny import NETWORK

# -------------------------------------------------------------------------------------------------------- time


def test_time_is_proportional_to_flops(model: palette.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "SLOWNESS", 1.0)
    measured = pace.Pace(model, 32 * 32, 3.0)
    small, large = (counter_of(NETWORK, 16, *sides).get_total_flops() for sides in ((32, 32), (64, 128)))
    assert measured(32 * 32) == 3.0
    assert measured(64 * 128) == pytest.approx(3.0 * large / small, rel=0.05)
    monkeypatch.undo()
    assert measured(64 * 128) > 3.0 * large / small


@pytest.mark.parametrize(
    ("largest", "seconds", "sides"),
    [
        (16 * 16, [0.1], [16]),
        (10_000, [0.7], [16]),
        (10_000, [0.1, 0.2, 0.4], [16, 32, 64]),  # 128 would be larger than any photo
        (10**6, [0.1, 0.2, 0.6], [16, 32, 64]),
    ],
)
def test_the_timed_evaluation_is_long_enough(
    model: palette.Model, monkeypatch: pytest.MonkeyPatch, largest: int, seconds: list[float], sides: list[int]
) -> None:
    asked: list[int] = []

    def timed(_: palette.Model, side: int) -> float:
        asked.append(side)
        return seconds[len(asked) - 1]

    monkeypatch.setattr(pace, "_timed", timed)
    assert pace.measure(model, largest) == pace.Pace(model, sides[-1] ** 2, seconds[-1])
    assert asked == sides


def test_timing_runs_the_network_and_stops_at_what_does_not_fit(
    model: palette.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pace.measure(model, 33 * 33).pixels == 32 * 32
    real = pace._timed
    monkeypatch.setattr(pace, "_timed", lambda m, side: real(m, side) if side < 32 else refuse())
    assert pace.measure(model, 10**6).pixels == 16 * 16


def refuse() -> float:
    raise DataError("too large")


# ------------------------------------------------------------------------------------------------------ memory

GROUPS = {
    "version 2": ("0::/jobs/mine", "", "memory.max", "memory.current", "inactive_file", "max"),
    "version 1": (
        "4:cpu,memory:/jobs/mine", "memory/", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
        "9223372036854771712",
    ),
}  # fmt: skip


@pytest.fixture(params=GROUPS)
def limits(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Path]]:
    """A machine with 1000 kB free, and the files that limit a group and the one around it to nothing yet."""
    line, base, limit, used, cache, nothing = GROUPS[request.param]
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"5:devices:/elsewhere\n{line}\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:  1000 kB\n")
    files = {}
    for name in ("jobs", "jobs/mine"):
        group = tmp_path / "sys/fs/cgroup" / base / name
        group.mkdir(parents=True)
        (group / used).write_text("300000\n")
        (group / "memory.stat").write_text(f"anon 7\n{cache} 100000\n")
        files[name] = group / limit
        files[name].write_text(nothing)
    return tmp_path, files


def test_the_limit_of_a_cgroup_counts(limits: tuple[Path, dict[str, Path]]) -> None:
    root, files = limits
    assert free_memory(root) == 1000 * 1024
    files["jobs"].write_text("900000\n")
    assert free_memory(root) == 900_000 - 200_000
    files["jobs/mine"].write_text("250000\n")
    assert free_memory(root) == 50_000
    files["jobs/mine"].write_text("150000\n")
    assert free_memory(root) == 0


def test_without_information_from_the_system(tmp_path: Path) -> None:
    assert free_memory(tmp_path) is None


MESSAGES = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("could not create a primitive"),
    MemoryError(),
)


@pytest.mark.parametrize("error", MESSAGES, ids=lambda error: str(error)[:20])
def test_out_of_memory_is_an_error_with_a_way_out(
    model: palette.Model, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    photo: npt.NDArray[np.uint8] = np.zeros((16, 16, 3), np.uint8)
    assert out_of_memory(error)
    monkeypatch.setattr(Restorer, "__call__", fail)
    with pytest.raises(DataError, match=r"do not fit into the memory of cpu.*Choose a smaller size"):
        model.restore(photo, "jpeg", steps=1)
    ready = model.canvas(photo, Request("jpeg"))
    monkeypatch.setattr(Restorer, "__call__", lambda *_: refuse_shapes())
    with pytest.raises(RuntimeError, match="shapes"):
        list(model.draw(ready, 1, 0, None))


def refuse_shapes() -> None:
    raise RuntimeError("shapes do not match")


def test_only_memory_errors_are_caught() -> None:
    with pytest.raises(RuntimeError, match="shapes"), within_memory("never"):
        refuse_shapes()
