"""Jobs of the real `snakemake` on one machine with four GPUs, reported by a stand-in for `nvidia-smi`."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

DEVICES = [f"GPU-{letter * 8}" for letter in "abcd"]
WORKFLOW = """
rule all:
    input: expand("one-{n}", n=range(6)), "four-0"

rule one:
    output: "one-{n}"
    resources: gpu=1
    shell: "python hold.py 1 {output}"

rule four:
    output: "four-{n}"
    resources: gpu=4
    shell: "python hold.py 4 {output}"
"""
HOLD = """
import os, signal, sys, time
from palette.system.gpu_lease import lease
with lease(int(sys.argv[1])) as held, open("record", "a") as record:
    assert os.environ["CUDA_VISIBLE_DEVICES"].split(",") == held
    began = time.time()
    time.sleep(0.5)
    if sys.argv[2] == "one-3" and not os.path.exists("killed"):
        open("killed", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    record.write(f"{began} {time.time()} {' '.join(held)}\\n")
open(sys.argv[2], "w").close()
"""


@pytest.mark.parametrize(
    "limit", [pytest.param(["--resources", "gpu=4"], marks=pytest.mark.slow), []], ids=["told-of-four", "not-told"]
)
def test_no_device_is_shared_and_all_are_used(limit: list[str], tmp_path: Path) -> None:
    """One of the jobs is killed with `kill -9` while it holds a device, and is tried again."""
    smi = tmp_path / "bin/nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\nprintf '%s\\n' " + " ".join(DEVICES) + "\n")
    smi.chmod(0o755)
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    (tmp_path / "hold.py").write_text(HOLD)
    path = os.pathsep.join([str(smi.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID")}
    checkout = str(Path(__file__).parents[2])
    environment |= {"PATH": path, "TMPDIR": str(tmp_path), "PYTHONPATH": checkout}
    command = [sys.executable, "-m", "snakemake", "--cores", "8", "--retries", "1", *limit]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    lines = [line.split() for line in (tmp_path / "record").read_text().splitlines()]
    held = [(float(began), float(ended), set(devices)) for began, ended, *devices in lines]
    assert sorted(len(devices) for *_, devices in held) == [1] * 6 + [4]
    together = [(a, b) for a, b in itertools.combinations(held, 2) if a[0] < b[1] and b[0] < a[1]]
    assert all(not a[2] & b[2] for a, b in together)
    assert together, "no two jobs ran side by side"
