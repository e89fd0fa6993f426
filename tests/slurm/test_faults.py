"""Faults of a cluster: after each one the run continues, and ends with the bytes of an undisturbed run.

One run has a training for each fault, and Slurm's controller is stopped and restarted during it.
"""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from palette.system.files import sha256
from palette.system.jobs import SUBMITTED
from palette.training.allocation import seconds_of
from tests.slurm.conftest import FAULTS, command, environment, with_data_of
from tests.slurm.lab import Lab, until
from tests.workflow.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


ERROR = re.compile(r"^Error in rule train:(?:\n    .*)*", re.MULTILINE)
"""One of Snakemake's reports of a failed training."""
THREE_MINUTES = "train:runtime=3 if 'out-of-time' in wildcards.stage else 15"

OWN_ARRAY = """#!/bin/sh
task=$SLURM_ARRAY_TASK_ID
echo started >> starts-$task
[ "$(wc -l < starts-$task)" -eq 1 ] || exit 0
[ $task -eq 2 ] || export {submitted}=${{SLURM_ARRAY_JOB_ID}}_$task
exec {python} -c "
from palette.cli import main
from palette.training import allocation
allocation.SHARE = 1.0
main()" train -c results/train/*-s$task-*/spec.yaml
"""
"""The trainings of two seeds, whose five minutes are said to be nearly over. The task of seed 0 is passed off as a workflow's job."""


@dataclass
class Disturbed:
    """A run of the trainings on Slurm, while things happen to them."""

    project: Project
    cluster: Lab

    def job(self, fault: str) -> str | None:
        """The running job of one training."""
        lines = self.cluster.run("squeue", "-h", "-t", "running", "-o", "%i %k").splitlines()
        return next((line.split()[0] for line in lines if f"colorization-{fault}-" in line), None)

    def log(self, fault: str) -> str:
        """All that a training has said; by the name under which it stays while Snakemake starts the job again."""
        (file,) = self.project.results.glob(f"logs/train/.photos-colorization-{fault}-*.log")
        return file.read_text()

    def state(self, fault: str) -> Path:
        """The folder of a training's states."""
        from palette.stages.reading import read_spec
        from palette.stages.train import TrainSpec

        (file,) = self.project.results.glob(f"train/*-{fault}-*/spec.yaml")
        spec = read_spec(file)
        assert isinstance(spec, TrainSpec)
        return self.project.results / "state" / spec.state_key

    def in_the_middle(self, fault: str) -> str:
        """Wait until a training has saved a state and has more to do; return its job."""
        until(lambda: self.job(fault) and list(self.state(fault).glob("step-*.pt")), f"a state of {fault}", 240)
        assert not list(self.project.results.glob(f"train/*-{fault}-*/card.json")), f"{fault} was done too soon"
        job = self.job(fault)
        assert job
        return job


def requeue(run: Disturbed) -> None:
    run.cluster.run("scontrol", "requeue", run.in_the_middle("requeued"))


def preempt(run: Disturbed) -> None:
    """The training holds all GPUs of its node; a job of a partition of higher priority takes them."""
    job = run.in_the_middle("preempted")
    node = run.cluster.run("squeue", "-h", "-j", job, "-o", "%N")
    run.cluster.run("sbatch", "-p", "urgent", "-w", node, "--gres=gpu:4", "-o", "/dev/null", "--wrap", "sleep 1")


def cancel(run: Disturbed) -> None:
    run.cluster.run("scancel", run.in_the_middle("cancelled"))


def drain(run: Disturbed) -> None:
    """Nothing more starts on the node; what runs there is sent away."""
    job = run.in_the_middle("drained")
    node = run.cluster.run("squeue", "-h", "-j", job, "-o", "%N")
    run.cluster.run("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    run.cluster.run("scontrol", "requeue", job)
    until(lambda: run.job("drained"), "another node", 240)
    assert run.cluster.run("squeue", "-h", "-j", job, "-o", "%N") != node
    run.cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME")


def restart_controller(run: Disturbed) -> None:
    """While the training that was out of time runs again."""
    until(lambda: run.job("out-of-time"), "the second run of out-of-time", 120)
    run.cluster.stop("slurmctld")
    time.sleep(3)
    run.cluster.start_controller()


def run_out_of_time(run: Disturbed) -> None:
    """The training is held still until its three minutes are nearly over, as on a slow node; on a slower one they are already."""
    job = run.in_the_middle("out-of-time")
    trainer = int(json.loads((run.state("out-of-time") / "heartbeat.json").read_text())["pid"])
    with suppress(ProcessLookupError):
        os.kill(trainer, signal.SIGSTOP)
    until(
        lambda: seconds_of(run.cluster.run("squeue", "-h", "-j", job, "-o", "%L")) in (0, 1, 2, math.inf),
        "the end",
        210,
    )
    with suppress(ProcessLookupError):
        os.kill(trainer, signal.SIGCONT)
    until(lambda: "it goes back into the queue" in run.log("out-of-time"), "the next job of the chain")


EVENTS: tuple[Callable[[Disturbed], None], ...] = (requeue, preempt, cancel, drain, run_out_of_time)


@pytest.fixture(scope="module")
def disturbed(
    undisturbed: Project, config: dict[str, Any], cluster: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Disturbed:
    """All trainings have been through theirs, on Slurm; a plain `snakemake` has then gone on to the samples."""
    short = {**config, "cluster": {"jobs": {"partition": "gpu"}, "train": {"hours": 0.25, "memory_gb": 4}}}
    project = Project.create(tmp_path_factory.mktemp("disturbed") / "project", short)
    run = Disturbed(with_data_of(project, undisturbed, "fetch", "prepare"), cluster)
    log = project.folder / "snakemake.log"
    with log.open("w") as out:
        snakemake = subprocess.Popen(
            command("models", "--set-resources", THREE_MINUTES),
            cwd=project.folder,
            env=environment(project, cluster),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            with ThreadPoolExecutor(len(EVENTS)) as pool:  # each strikes when its training is in the middle
                for done in [pool.submit(event, run) for event in EVENTS]:
                    done.result()
            restart_controller(run)
            assert snakemake.wait(timeout=400) == 0, log.read_text()[-6000:]
        finally:
            snakemake.kill()
    project.snakemake("--until", "sample")
    return run


@pytest.mark.parametrize("fault", FAULTS)
def test_ends_with_the_same_bytes(fault: str, disturbed: Disturbed, undisturbed: Project) -> None:
    (model,) = disturbed.project.results.glob(f"train/*-{fault}-*/model.safetensors")
    assert sha256(model) == sha256(undisturbed.results / model.relative_to(disturbed.project.results))
    assert "going on from step" in disturbed.log(fault)


def test_later_stages_end_with_the_same_bytes(disturbed: Disturbed, undisturbed: Project) -> None:
    assert disturbed.project.artifacts() == undisturbed.artifacts()


@pytest.mark.parametrize("fault", ["requeued", "preempted", "cancelled", "drained"])
def test_sigterm_saves_at_once(fault: str, disturbed: Disturbed) -> None:
    assert "asked by a signal, saved at step" in disturbed.log(fault)


def test_a_training_longer_than_the_time_limit_is_a_chain_of_jobs(disturbed: Disturbed) -> None:
    """The job puts itself back into the queue; nothing fails, and no retry is used up."""
    log = disturbed.log("out-of-time")
    assert "it goes back into the queue" in log
    assert "could not be queued again" not in log
    errors = ERROR.findall((disturbed.project.folder / "snakemake.log").read_text())
    assert errors, "the cancelled training has failed once"
    assert all("colorization-cancelled-" in error for error in errors)


def test_the_users_own_job_is_not_requeued(undisturbed: Project, cluster: Lab, tmp_path: Path) -> None:
    """Nor is it with another task of its array, which the workflow may requeue."""
    project = Project.create(tmp_path / "project", undisturbed.config)
    with_data_of(project, undisturbed, "prepare", "train")
    script = project.folder / "own.sh"
    script.write_text(OWN_ARRAY.format(submitted=SUBMITTED, python=sys.executable))
    options = ["--parsable", "--array=0,2", "--time=5", "--mem=4000", "--open-mode=append", "--output=own-%a.log"]
    job = cluster.run("sbatch", *options, f"--chdir={project.folder}", str(script))
    until(lambda: not cluster.run("squeue", "-h", "-j", job), "the end of both tasks", 240)
    said = {task: (project.folder / f"own-{task}.log").read_text() for task in (0, 2)}
    assert f"the time of job {job}_0 is nearly over: it goes back into the queue" in said[0]
    assert "into the queue" not in said[2]
    assert [len((project.folder / f"starts-{task}").read_text().splitlines()) for task in said] == [2, 1], said
