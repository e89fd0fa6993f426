"""`kill -9` of Snakemake and all its workers at a bad moment: the next plain `snakemake` ends with the same bytes."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.workflow.project import Project


@pytest.fixture(scope="module")
def one_row(tiny: dict[str, Any]) -> dict[str, Any]:
    """One diffusion model, and training and sampling long enough to be hit."""
    model = {**tiny["models"]["palette"], "train": {**tiny["models"]["palette"]["train"], "steps": 60}}
    experiments = [{"dataset": "photos", "task": "colorization", "model": "palette", "sampler": "dpm4"}]
    return {**tiny, "models": {"palette": model}, "experiments": experiments, "tables": {"smoke": {}}}


@pytest.fixture(scope="module")
def undisturbed(one_row: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.create(tmp_path_factory.mktemp("undisturbed") / "project", one_row)
    project.snakemake()
    return project


def training(project: Project) -> bool:
    """In the middle of training: some state is saved, and more steps are to come."""
    return any(project.results.glob("state/*/step-*.pt"))


def sampling(project: Project) -> bool:
    """One shard is there, others are not."""
    return any(project.results.glob("sample/*/shard-000.json"))


def scoring(project: Project) -> bool:
    """Features are there, the score is not."""
    return any(project.results.glob("features/*palette*/shard-000.json"))


def kill_all(run: subprocess.Popen[bytes]) -> None:
    """`kill -9` of a process and of all that it started."""
    driver = psutil.Process(run.pid)
    driver.suspend()  # first, so that it starts no more while the others are listed
    for process in [*driver.children(recursive=True), driver]:
        process.kill()
    run.wait()


def test_a_run_killed_again_and_again_ends_with_the_same_bytes(
    undisturbed: Project, one_row: dict[str, Any], tmp_path: Path
) -> None:
    project = Project.create(tmp_path / "project", one_row)
    for moment in (training, sampling, scoring):
        run = subprocess.Popen(
            project.command(), cwd=project.folder, env=project.environment, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 300
        while not moment(project):
            assert run.poll() is None, f"the run ended before it could be hit in {moment.__name__}"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        kill_all(run)
        assert not (project.results / "report/index.html").exists()
    project.snakemake()
    assert project.artifacts() == undisturbed.artifacts()


@pytest.mark.slow
def test_orphaned_worker_does_not_disturb_the_next_run(
    undisturbed: Project, one_row: dict[str, Any], tmp_path: Path
) -> None:
    project = Project.create(tmp_path / "project", one_row)
    run = subprocess.Popen(project.command(), cwd=project.folder, env=project.environment, stderr=subprocess.DEVNULL)
    while not training(project):
        assert run.poll() is None
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)  # the driver alone: its trainer goes on
    run.wait()
    project.snakemake()
    assert project.artifacts() == undisturbed.artifacts()
