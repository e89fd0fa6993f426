"""The tiny config through all verbs on a real Slurm: two nodes for one training, arrays of shards, more memory after too little."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.slurm.conftest import on_slurm
from tests.slurm.lab import Lab
from tests.workflow.project import Project

pytestmark = pytest.mark.slow
TOO_LITTLE = 0.15
"""GB that neither Snakemake nor torch fits in, nor twice as much; four times as much will do."""


@pytest.fixture(scope="module")
def finished(
    config: dict[str, Any], cluster: Lab, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Project, str, list[dict[str, str]]]:
    """The project, what Snakemake said, and what became of the jobs."""
    rows = [row for row in config["experiments"] if row["model"] == "requeued"]
    model = config["models"]["requeued"]
    model = {**model, "train": {**model["train"], "nodes": 2, "gpus": 2}}
    small = {
        **config,
        "models": {"requeued": model},
        "experiments": rows,
        "cluster": {"jobs": {"hours": 0.25, "partition": "gpu"}, "prepare": {"memory_gb": TOO_LITTLE}},
    }
    project = Project.create(tmp_path_factory.mktemp("verbs") / "project", small)
    before = len(cluster.history())
    said = on_slurm(project, cluster)
    return project, said, cluster.history()[before:]


def test_every_verb_ran_on_slurm(finished: tuple[Project, str, list[dict[str, str]]]) -> None:
    project, said, _ = finished
    assert (project.results / "report/index.html").exists()
    for rule in ("fetch", "prepare", "train", "sample", "extractor", "features", "score", "tabulate", "report"):
        assert list((project.results / "logs").glob(f"{rule}*")), rule
    assert "localrule" not in said


def test_two_nodes_train_the_model_of_one(
    finished: tuple[Project, str, list[dict[str, str]]], undisturbed: Project
) -> None:
    """Weights within 2e-4 after 400 steps of Adam of up to 1e-3 each: another order of additions, and nothing else."""
    project = finished[0]
    (model,) = project.results.glob("train/*/model.safetensors")
    expected = load_file(undisturbed.results / model.relative_to(project.results))
    for name, weight in load_file(model).items():
        torch.testing.assert_close(weight, expected[name], atol=2e-4, rtol=0)
    assert json.loads(model.with_name("card.json").read_text())["devices"] == 2


def test_shards_are_tasks_of_an_array(
    finished: tuple[Project, str, list[dict[str, str]]], undisturbed: Project
) -> None:
    project, said, _ = finished
    assert said.count("Submitted array job") >= 2
    assert len(list(project.results.glob("sample/*/shard-*.zip"))) == 2
    for shard in project.results.glob("features/*originals*/shard-*.npz"):
        assert shard.read_bytes() == (undisturbed.results / shard.relative_to(project.results)).read_bytes()


def test_out_of_memory_is_tried_again_with_more(finished: tuple[Project, str, list[dict[str, str]]]) -> None:
    history = finished[2]
    print(history)
    assert "OUT_OF_MEMORY" in {job["JobState"] for job in history}


def test_logs_stay(finished: tuple[Project, str, list[dict[str, str]]]) -> None:
    logs: list[Path] = list((finished[0].results / "logs/train").glob("*.log"))
    assert len(logs) == 1
    assert "steps/s" in logs[0].read_text()
