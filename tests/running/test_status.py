"""`palette status`, from files alone: a results folder in the middle of a run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from palette.cli import main
from palette.errors import DataError
from palette.planning.checks import read_config
from palette.planning.plan import Plan
from palette.running import status
from palette.stages.train import TrainSpec
from palette.system import jobs
from palette.system.files import write_json
from tests.running.test_resources import CONFIG

NOW = 1_000_000.0


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Two trainings; all specs are written, as when a run has begun, and the data is made."""
    config = {**CONFIG, "results": str(tmp_path / "results"), "sample": {"shard_size": 128}}
    plan = Plan(read_config(config, [Path("config.yaml")]))
    for spec in plan.stages.values():
        spec.write(plan.results)
        if spec.kind in ("fetch", "prepare"):
            make(plan, spec.folder)
    return plan


def make(plan: Plan, folder: str, shard: str | None = None) -> None:
    for file in plan.outputs(folder, shard):
        write_json(plan.results / file, {})


def dead() -> int:
    """The number of a process that has been."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def training(plan: Plan, number: int) -> TrainSpec:
    spec = plan.of_kind("train")[number]
    assert isinstance(spec, TrainSpec)
    return spec


def begin(plan: Plan, spec: TrainSpec, **record: Any) -> None:
    """As a training under way leaves it: its job's file and its heartbeat."""
    here = {"state": "running", "host": "node7", "pid": 1, "job": "17", "seen": NOW - 5, "started": NOW - 3600}
    write_json(jobs.place(plan.results, spec.folder), {**here, **record})
    beat = {
        **here,
        "stage": spec.folder,
        "step": 250,
        "steps": 1000,
        "images_per_second": 102.5,
        "seconds_left": 75,
        "devices": 8,
        "device": "cuda",
        "gpu_hours": 6.5,
        "checkpoint": {"step": 200, "time": NOW - 60},
    }
    write_json(plan.results / "state" / spec.state_key / "heartbeat.json", beat)


def test_a_run_that_has_just_started(plan: Plan) -> None:
    found = status.of_results(plan.results, NOW)
    expected = sum(len(s.jobs) for s in plan.stages.values())
    assert sum(found["counts"].values()) == expected
    assert found["finished"] == {"fetch": 1, "prepare": 1}
    assert found["waiting"]["train"] == 2
    assert found["waiting"]["sample"] == 4
    assert found["jobs"] == []


def test_stages_deleted_to_free_space_are_finished(plan: Plan) -> None:
    for store in plan.results.glob("prepare/*/*.zip"):
        store.unlink()
    sample = plan.of_kind("sample")[0]
    for shard in sample.shards:
        make(plan, sample.folder, shard)
        (plan.results / sample.folder / f"shard-{shard}.zip").unlink()
    finished = status.of_results(plan.results, NOW)["finished"]
    assert finished == {"fetch": 1, "prepare": 1, "sample": len(sample.shards)}


def test_a_training_reports_its_progress_and_machine(plan: Plan) -> None:
    begin(plan, training(plan, 0))
    found = status.of_results(plan.results, NOW)
    assert found["counts"]["running"] == 1
    assert found["gpu_hours"] == 6.5
    text = status.text(found, NOW)
    for part in ("250/1000 steps (25%)", "102.5 images/s", "1:15 left", "saved at step 200, 1:00 ago", "8 × cuda"):
        assert part in text
    for part in ("6.50 GPU-hours", "node7", "job 17", "started 1:00:00 ago"):
        assert part in text


def test_the_state_of_a_longer_training_is_not_mistaken_for_this_one(plan: Plan) -> None:
    spec = training(plan, 0)
    begin(plan, spec)
    longer = TrainSpec.model_validate({**spec.model_dump(), "steps": spec.steps + 1})
    assert longer.state_key == spec.state_key
    write_json(plan.results / "state" / spec.state_key / "heartbeat.json", {"stage": longer.folder, "step": 5})
    (job,) = status.of_results(plan.results, NOW)["jobs"]
    assert "step" not in job


@pytest.mark.parametrize(
    ("record", "state"),
    [
        ({"host": "here", "pid": os.getpid()}, "running"),
        ({"host": "here", "pid": 0}, "lost"),
        ({"seen": NOW - 3600}, "running"),
        ({"state": "failed", "error": "the disk is full"}, "failed"),
        ({"state": "stopped"}, "stopped"),
    ],
    ids=["alive", "dead", "elsewhere", "failed", "stopped"],
)
def test_states(record: dict[str, Any], state: str, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    if record.get("pid") == 0:
        record = {**record, "pid": dead()}
    begin(plan, training(plan, 0), **record)
    (job,) = status.of_results(plan.results, NOW)["jobs"]
    assert job["state"] == state
    text = status.text(status.of_results(plan.results, NOW), NOW)
    if state == "failed":
        assert "the disk is full" in text
        assert f"results/logs/{training(plan, 0).folder}.log" in text


def test_a_silent_training_on_another_machine_is_lost(plan: Plan) -> None:
    begin(plan, training(plan, 0))
    assert status.of_results(plan.results, NOW + 2 * status.SILENCE)["counts"]["lost"] == 1


def test_shards_are_counted_one_by_one(plan: Plan) -> None:
    spec = plan.of_kind("sample")[0]
    make(plan, spec.folder, "001")
    assert status.of_results(plan.results, NOW)["finished"]["sample"] == 1


def test_a_job_leaves_a_file_while_it_runs_and_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    file = tmp_path / "jobs/train/x.json"
    with jobs.under_way(file):
        record = json.loads(file.read_text())
        assert (record["state"], record["pid"], record["job"]) == ("running", os.getpid(), "17")
    assert not file.exists()
    with pytest.raises(DataError), jobs.under_way(file):
        raise DataError("no such picture")
    assert json.loads(file.read_text())["error"] == "no such picture"


def test_an_array_task_is_identified_by_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SLURM_JOB_ID", "19"), ("SLURM_ARRAY_JOB_ID", "17"), ("SLURM_ARRAY_TASK_ID", "2")):
        monkeypatch.setenv(name, value)
    assert jobs.scheduler_job() == "17_2"


def test_the_command(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "-r", str(plan.results), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["finished"] == {"fetch": 1, "prepare": 1}
    assert main(["status", "-r", str(plan.results / "nowhere")]) == 3
    assert "no run has begun here" in capsys.readouterr().err
    assert main(["status", "-r", str(plan.results), "--watch", "-3"]) == 2
    assert "--watch -3: should be a number of seconds" in capsys.readouterr().err
