"""One training evaluated at several steps: the real DAG, undisturbed and killed, against a plain training."""

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from palette.config import Config
from palette.planning.plan import Plan
from palette.stages import train
from palette.stages.stage import Stage
from palette.stages.train import TrainSpec
from palette.system.files import sha256
from tests.workflow.project import Project
from tests.workflow.test_crash import kill_all

pytestmark = pytest.mark.slow

ROW = {"dataset": "photos", "task": "colorization", "model": "regression"}


@pytest.fixture(scope="module")
def config(tiny: dict[str, Any]) -> dict[str, Any]:
    """A model of 24 steps, to be evaluated after 8 and 16 too. The trainings alone run here."""
    model = {**tiny["models"]["regression"], "train": {**tiny["models"]["regression"]["train"], "steps": 24}}
    experiments = [ROW, {**ROW, "steps": [8, 16]}]
    return {**tiny, "models": {"regression": model}, "experiments": experiments, "report": {"gallery_images": 0}}


@pytest.fixture(scope="module")
def evaluated(config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.create(tmp_path_factory.mktemp("steps") / "project", config)
    assert project.stale()["train"] == 3
    project.snakemake("models")
    return project


def models(project: Project) -> dict[int, Path]:
    """Number of steps → the weights of the model."""
    specs = {file: yaml.safe_load(file.read_text()) for file in project.results.glob("train/*/spec.yaml")}
    return {content["steps"]: file.with_name("model.safetensors") for file, content in specs.items()}


def test_each_training_continues_where_the_shorter_one_ended(evaluated: Project) -> None:
    logs = "".join(file.read_text() for file in evaluated.results.glob("logs/train/[!.]*"))
    assert sorted(re.findall(r"going on from step (\d+)", logs)) == ["16", "8"]
    assert len(list(evaluated.results.glob("state/*"))) == 1
    assert "train" not in evaluated.stale()


def test_intermediate_evaluations_change_no_byte_of_the_model(
    evaluated: Project, config: dict[str, Any], tmp_path: Path
) -> None:
    made = Plan(Config.model_validate({**config, "experiments": [ROW], "results": str(tmp_path)}))
    (spec,) = made.of_kind("train")
    assert isinstance(spec, TrainSpec)
    shutil.copytree(evaluated.results / "prepare", tmp_path / "prepare")
    train.run(Stage.read(spec.write(tmp_path)))
    assert sha256(tmp_path / spec.folder / "model.safetensors") == sha256(models(evaluated)[24])


def test_a_new_intermediate_evaluation_keeps_existing_results(evaluated: Project, tmp_path: Path) -> None:
    project = evaluated.copy(tmp_path / "project")
    project.change(lambda c: c["experiments"].append({**ROW, "steps": 12}))
    assert project.stale()["train"] == 1
    project.change(lambda c: c["models"]["regression"]["train"].update(steps=32))  # 24 is now on the way too
    assert project.stale()["train"] == 2


def test_a_killed_run_ends_with_the_same_bytes(evaluated: Project, config: dict[str, Any], tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project", config)
    run = subprocess.Popen(
        project.command("models"), cwd=project.folder, env=project.environment, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 300
    while not any(project.results.glob("train/*/card.json")):  # the first is done, the next one may be at work
        assert run.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    kill_all(run)
    project.snakemake("models")
    assert project.artifacts() == evaluated.artifacts()
