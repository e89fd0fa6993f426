"""Resource requests of jobs, as submitted by the Slurm plugin, in the three ways of requesting GPUs."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from palette.errors import ConfigError
from palette.planning.checks import read_config
from palette.planning.plan import Plan
from palette.running import resources

CONFIG: dict[str, Any] = {
    "datasets": {"photos": {"prepare": {"image_size": 16}}},
    "tasks": {"jpeg": {"degradation": "jpeg"}},
    "models": {
        "one": {"train": {"gpus": 4, "threads": 16, "batch_size": 64}},
        "many": {"train": {"gpus": 4, "nodes": 2, "threads": 8, "batch_size": 64}},
    },
    "samplers": {"dpm": {"steps": 4}},
    "experiments": [{"dataset": "photos", "task": "jpeg", "model": ["one", "many"], "sampler": "dpm"}],
}


class Resources(dict[str, Any]):
    """As Snakemake gives them to executors: a mapping whose entries are attributes too."""

    __getattr__ = dict.__getitem__


def requested(cluster: dict[str, Any], kind: str, model: str, attempt: int = 1, slurm: bool = True) -> Resources:
    """Those of the job of one model's stage."""
    plan = Plan(read_config({**CONFIG, "cluster": cluster}, [Path("config.yaml")]))
    (spec,) = (spec for spec in plan.of_kind(kind) if f"-{model}-" in spec.name)
    wildcards = Resources(stage=spec.folder.partition("/")[2])
    found = Resources()
    for name, value in resources.asked(plan, kind, lambda: slurm).items():
        if callable(value):
            value = value(wildcards, attempt) if name == "mem_mb" else value(wildcards)
        if value is not None:
            found[name] = value
    return found


def submitted(found: Resources, threads: int = 1) -> str:
    """The plugin's `sbatch` line, without what the job is called."""
    pytest.importorskip("snakemake_executor_plugin_slurm")
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    job = SimpleNamespace(resources=found, threads=threads, is_group=lambda: False)
    names = ("run_uuid", "slurm_logfile", "comment_str", "account", "workdir")
    partition = f"-p {found.slurm_partition}" if "slurm_partition" in found else ""
    params: dict[str, str] = {**dict.fromkeys(names, ""), "partition": partition}
    return f"{get_submit_command(job, params)} {set_gres_string(job)} "


@pytest.mark.parametrize(
    ("cluster", "wanted"),
    [
        ({}, [" --gpus=4 ", " --nodes=1 "]),
        ({"train": {"gpu_model": "h100"}}, [" --gpus=h100:4 ", " --nodes=1 "]),
        ({"gpus": "gres"}, [" --gres=gpu:4 ", " --nodes=1 "]),
        ({"gpus": "gres", "jobs": {"gpu_model": "a100"}}, [" --gres=gpu:a100:4 "]),
        ({"jobs": {"constraint": "a100|h100"}}, [" -C 'a100|h100' ", " --gpus=4 "]),
    ],
    ids=["gpus", "gpus-model", "gres", "gres-model", "constraint"],
)
def test_three_ways_to_request_gpus(cluster: dict[str, Any], wanted: list[str]) -> None:
    line = submitted(requested(cluster, "train", "one"), threads=16)
    assert all(part in line for part in wanted), line
    assert " --cpus-per-task=16 " in line
    assert ("--gres" in line) != ("--gpus=" in line)
    assert "--ntasks-per-gpu" not in line


def test_a_gpu_count_shared_by_all_jobs_is_not_a_function() -> None:
    """Of which Snakemake would call one in each of thousands of jobs."""
    plan = Plan(read_config(CONFIG, [Path("config.yaml")]))
    assert resources.asked(plan, "sample", lambda: False)["gpu"] == 1
    assert callable(resources.asked(plan, "train", lambda: False)["gpu"])  # one model's nodes are asked for otherwise


@pytest.mark.parametrize("dialect", ["gpus", "gres"])
def test_several_nodes_are_requested_per_node(dialect: str) -> None:
    line = submitted(requested({"gpus": dialect}, "train", "many"), threads=8)
    for part in (" --nodes=2 ", " --ntasks=2 ", " --cpus-per-task=8 ", " --gres=gpu:4 "):
        assert part in line, line
    assert "--gpus=" not in line


def test_outside_of_slurm_a_training_on_several_nodes_runs_on_this_machine() -> None:
    found = requested({"gpus": "gres"}, "train", "many", slurm=False)
    assert found["gpu"] == 4
    assert not {"nodes", "mpi", "gres", "tasks"} & set(found)


def test_requests_of_one_verb_override_those_of_all() -> None:
    cluster = {
        "jobs": {"partition": "short", "account": "vision", "hours": 2},
        "train": {"partition": "long", "qos": "high"},
    }
    assert " -p long " in submitted(found := requested(cluster, "train", "one"))
    assert (found["slurm_account"], found["qos"], found["runtime"]) == ("vision", "high", 120)
    assert requested(cluster, "sample", "one")["slurm_partition"] == "short"


@pytest.mark.parametrize(
    ("hours", "minutes"),
    [
        (24, 1440),
        ("24:00:00", 1440),
        ("02:30:00", 150),
        ("2-00:30:00", 2910),
        ("0:01:00", 1),
        ("0:01:01", 2),
        ("0:31:00", 31),
        (0.02, 2),
        ("0.5", 30),
        (1000, 60_000),
    ],
)
def test_hours_are_rounded_up_to_minutes(hours: Any, minutes: int) -> None:
    assert requested({"train": {"hours": hours}}, "train", "one")["runtime"] == minutes


@pytest.mark.parametrize("hours", [86_400, 3600, "1e9", 10**400, 0, 0.001, -1, "0:00:59", "24:00", "1:60:00", "long"])
def test_unreasonable_hours_are_refused(hours: Any) -> None:
    """YAML reads 24:00:00 and 1:00:00 without quotes as 86,400 and 3600; Slurm takes 0 minutes for no limit."""
    with pytest.raises(
        ConfigError, match=r'cluster\.train\.hours: must be hours, from 1/60 to 1000, .*"24:00:00" \(given'
    ):
        requested({"train": {"hours": hours}}, "train", "one")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cluster": {"jobs": {"memory_gb": 256_000}}}, "cluster.jobs.memory_gb"),
        ({"cluster": {"jobs": {"memory_gb": 0.0001}}}, "cluster.jobs.memory_gb"),  # `--mem 0` is all of a node
        ({"sample": {"threads": 1025}}, "sample.threads"),
        ({"datasets": {"photos": {"threads": 86_400}}}, "datasets.photos.threads"),
        *[
            ({"models": {"one": {"train": {name: 2_000}}}}, f"models.one.train.{name}")
            for name in ("gpus", "nodes", "threads")
        ],
    ],
)
def test_unreasonable_quantities_are_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=f"{re.escape(field)}: should be"):
        read_config({**CONFIG, **changes}, [Path("config.yaml")])


def test_each_attempt_requests_twice_the_memory() -> None:
    cluster = {"sample": {"memory_gb": 8}}
    assert [requested(cluster, "sample", "one", attempt)["mem_mb"] for attempt in (1, 2, 3)] == [8000, 16000, 32000]
    assert requested({}, "train", "one")["mem_mb"] == 4 * requested({}, "sample", "one")["mem_mb"]


def test_only_a_job_of_several_nodes_is_started_by_srun() -> None:
    plan = Plan(read_config(CONFIG, [Path("config.yaml")]))
    one, many = plan.of_kind("train")
    assert resources.launcher(one, in_job=True) == resources.launcher(many, in_job=False) == ""
    assert resources.launcher(many, in_job=True).startswith("srun --nodes=2 --ntasks=2 --ntasks-per-node=1")
