"""A cluster for the whole session, an undisturbed run, and the commands to run the project on Slurm."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.slurm.lab import Lab, lab, missing
from tests.workflow.project import CHECKOUT, Project

FAULTS = ("requeued", "preempted", "cancelled", "drained", "out-of-time")
STEPS = 200
QUICK = {"slurm-no-account": None, "slurm-status-command": "squeue", "slurm-init-seconds-before-status-checks": "2"}
"""What this cluster needs of the profile: it has no accounting, and its jobs last for seconds."""


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if lacking := missing():
        pytest.skip(f"no Slurm here: {', '.join(lacking)} missing (Debian: apt-get install slurm-wlm munge)")
    if subprocess.run(["id", "-u"], capture_output=True, text=True, check=True).stdout.strip() != "0":
        pytest.skip("the daemons of a Slurm cluster and its device files need root")
    with lab(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def config() -> dict[str, Any]:
    """One small model for each fault, told apart by its seed."""
    smoke = yaml.safe_load((CHECKOUT / "workflow/presets/smoke.yaml").read_text())
    smoke["datasets"]["photos"]["prepare"]["test_images"] = 8
    palette = smoke["models"]["palette"]
    short = {**palette, "train": {**palette["train"], "steps": STEPS, "checkpoint_every": 20}}
    models = dict.fromkeys(FAULTS, short)
    models["preempted"] = {**short, "train": {**short["train"], "gpus": 4}}
    rows = [
        {"dataset": "photos", "task": "colorization", "model": fault, "sampler": "dpm4", "seed": seed}
        for seed, fault in enumerate(FAULTS)
    ]
    smoke["sample"]["shard_size"] = 8
    return {**smoke, "results": "results", "models": models, "experiments": rows, "tables": {"faults": {}}}


@pytest.fixture(scope="session")
def undisturbed(config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Trained and sampled on this machine, by a plain `snakemake`."""
    project = Project.create(tmp_path_factory.mktemp("undisturbed") / "project", config)
    project.snakemake("--until", "sample")
    return project


def command(*arguments: str) -> list[str]:
    """`snakemake` with the Slurm profile."""
    quick = [part for option, value in QUICK.items() for part in (f"--{option}", value) if part is not None]
    profile = ["--workflow-profile", "workflow/profiles/slurm", "--latency-wait", "5"]
    return [sys.executable, "-m", "snakemake", *profile, *quick, *arguments]


def environment(project: Project, cluster: Lab) -> dict[str, str]:
    return {**project.environment, **{name: cluster.environment[name] for name in ("PATH", "SLURM_CONF")}}


def on_slurm(project: Project, cluster: Lab, *arguments: str, code: int = 0) -> str:
    """Run to the end, with this exit code; return what was printed."""
    run = subprocess.run(
        command(*arguments),
        cwd=project.folder,
        env=environment(project, cluster),
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert run.returncode == code, run.stdout[-6000:] + run.stderr[-6000:]
    return run.stdout + run.stderr


def with_data_of(project: Project, other: Project, *kinds: str) -> Project:
    """`project` with the other's stages of these kinds, whose making is not what is tested."""
    for kind in kinds:
        shutil.copytree(other.results / kind, project.results / kind)
    return project
