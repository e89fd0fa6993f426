"""All verbs on a real Slurm: a training on two nodes, more shards than slots, more memory after too little."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.slurm.conftest import on_slurm, with_data_of
from tests.slurm.lab import Lab
from tests.workflow.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
Finished = tuple[Project, str]
"""The project, and what Snakemake said."""
TOO_LITTLE = 0.1
"""GB for `prepare`, in whose job Snakemake alone takes more."""


@pytest.fixture(scope="module")
def finished(config: dict[str, Any], cluster: Lab, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    rows = [row for row in config["experiments"] if row["model"] == "requeued"]
    model = config["models"]["requeued"]
    model = {**model, "train": {**model["train"], "nodes": 2, "gpus": 2}}
    small = {
        **config,
        "models": {"requeued": model},
        "experiments": rows,
        "sample": {**config["sample"], "shard_size": 4},
        "cluster": {"jobs": {"hours": 0.25, "partition": "gpu"}, "prepare": {"memory_gb": TOO_LITTLE}},
    }
    project = Project.create(tmp_path_factory.mktemp("verbs") / "project", small)
    return project, on_slurm(project, cluster)


def test_every_verb_ran_on_slurm(finished: Finished) -> None:
    project, said = finished
    assert (project.results / "report/index.html").exists()
    for rule in ("fetch", "prepare", "train", "sample", "extractor", "features", "score", "tabulate", "report"):
        assert list((project.results / "logs").glob(f"{rule}*")), rule
    assert set(re.findall(r"localrule (\w+)", said)) <= {"all"}


def test_two_nodes_train_the_same_model_as_one(finished: Finished, undisturbed: Project) -> None:
    """Weights within 2e-4 after 200 steps of Adam of up to 1e-3 each: another order of additions, and nothing else."""
    project = finished[0]
    (model,) = project.results.glob("train/*/model.safetensors")
    expected = load_file(undisturbed.results / model.relative_to(project.results))
    for name, weight in load_file(model).items():
        torch.testing.assert_close(weight, expected[name], atol=2e-4, rtol=0)
    assert json.loads(model.with_name("card.json").read_text())["devices"] == 2


@pytest.fixture
def shards(config: dict[str, Any], undisturbed: Project, tmp_path: Path) -> Project:
    """Eight shards are all that is left to do."""
    small = {**config, "sample": {**config["sample"], "shard_size": 1}, "cluster": {"jobs": {"hours": 0.25}}}
    small["experiments"] = [row for row in config["experiments"] if row["model"] == "requeued"]
    return with_data_of(Project.create(tmp_path / "project", small), undisturbed, "fetch", "prepare", "train")


def test_more_shards_than_slots(shards: Project, cluster: Lab) -> None:
    """All of which are ready at once, and three may be in the queue."""
    said = on_slurm(shards, cluster, "--jobs", "3", "--until", "sample")
    assert said.count("has been submitted with SLURM jobid") == 8
    assert len(list(shards.results.glob("sample/*/shard-*.zip"))) == 8


def test_arrays_are_refused(shards: Project, cluster: Lab) -> None:
    """Otherwise a batch of them would be set aside, and waited for."""
    said = on_slurm(shards, cluster, "--slurm-array-jobs", "sample", "--until", "sample", code=1)
    assert "slurm-array-jobs: sample: the run would hang" in said
    assert not cluster.run("squeue", "-h")


def test_out_of_memory_is_retried_with_more(finished: Finished, cluster: Lab) -> None:
    """Slurm kills the job, which is submitted again for twice the memory."""
    project = finished[0]
    lines = cluster.run("squeue", "-h", "-t", "all", "-S", "i", "-o", "%T %m %Z %k").splitlines()
    tries = [line.split() for line in lines if str(project.folder) in line and "rule_prepare" in line]
    asked = [int(memory.removesuffix("M")) for _, memory, *_ in tries]
    assert len(asked) > 1
    assert asked == [round(1000 * TOO_LITTLE) * 2**attempt for attempt in range(len(asked))]
    assert [state for state, *_ in tries] == ["FAILED"] * (len(tries) - 1) + ["COMPLETED"]
    logs = (project.folder / ".snakemake/slurm_logs/rule_prepare").rglob("*.log")
    assert "exceeded memory limit" in "".join(log.read_text() for log in logs)


def test_logs_are_kept(finished: Finished) -> None:
    logs: list[Path] = list((finished[0].results / "logs/train").glob("photos-*.log"))
    assert len(logs) == 1
    assert "steps/s" in logs[0].read_text()
