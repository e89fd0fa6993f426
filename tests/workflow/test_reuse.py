"""The workflow as a module, released models in place of a training, results on another machine, the plan as a target."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from palette.system.files import read_json, sha256
from tests.workflow.project import CHECKOUT, Project

IMPORTING = """
import json
module palette:
    snakefile: {snakefile!r}
    config: json.loads(open("own.json").read())
    prefix: "vendored"
use rule * from palette as palette_*
use rule sample from palette as palette_sample with:
    threads: 2
rule count:
    default_target: True
    input: rules.palette_report.output.page, table="vendored/results/tabulate/smoke/smoke.csv"
    output: "rows.txt"
    shell: "wc -l < {{input.table}} > {{output}}"
"""


def trained(project: Project) -> Path:
    """The folder of its regression."""
    return next(project.results.glob("train/*regression*"))


@pytest.mark.slow
def test_another_workflow_imports_ours_and_samples_a_released_model(finished: Project, tmp_path: Path) -> None:
    card = trained(finished) / "model.json"
    config = finished.config
    config["models"] = {
        "regression": {"objective": {"kind": "regression"}, "released": {"card": str(card), "sha256": sha256(card)}}
    }
    config["experiments"] = [{"dataset": "photos", "task": "colorization", "model": "regression"}]
    config["tables"] = {"smoke": {}}
    (tmp_path / "own.json").write_text(json.dumps(config))
    (tmp_path / "Snakefile").write_text(IMPORTING.format(snakefile=str(CHECKOUT / "Snakefile")))
    environment = finished.environment | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    planned = subprocess.run([*command, "-n"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert planned.stderr.count("GPU-hours") == 1
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert int((tmp_path / "rows.txt").read_text()) > 1
    assert {entry.name for entry in tmp_path.iterdir()} <= {
        "own.json",
        "Snakefile",
        "vendored",
        "rows.txt",
        ".snakemake",
    }
    results = tmp_path / "vendored/results"
    assert not (results / "train").exists()
    for shard in ("shard-000.zip", "shard-001.zip"):
        (ours,) = results.glob(f"sample/*/{shard}")
        (theirs,) = finished.results.glob(f"sample/*regression*/{shard}")
        assert sha256(ours) == sha256(theirs)
    scores = [read_json(next(r.glob("score/*regression*/scores.json"))) for r in (results, finished.results)]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_another_workflow_imports_ours_out_of_a_git_repository(tiny: dict[str, Any], tmp_path: Path) -> None:
    """As by `github(...)`: Snakemake gets file by file out of a commit, and the package comes from the same one."""
    repository = Project.create(tmp_path / "repository", tiny)
    git = ["git", "-C", str(repository.folder), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q", "-b", "trunk"], ["add", "-A"], ["commit", "-q", "-m", "All of it"]):
        subprocess.run([*git, *arguments], check=True)
    (repository.folder / "palette/planning/plan.py").write_text("not committed")
    own = tmp_path / "own"
    own.mkdir()
    (own / "own.json").write_text(json.dumps(tiny))
    snakefile = f"git+file://{repository.folder}/Snakefile@trunk"
    (own / "Snakefile").write_text(IMPORTING.format(snakefile=snakefile))
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    made = [*command, "--until", "palette_mask"]
    for arguments in ([*command, "-n"], made):
        run = subprocess.run(arguments, cwd=own, env=repository.environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    (card,) = own.glob("vendored/results/mask/*/card.json")
    assert read_json(card)["kind"] == "mask"


@pytest.mark.slow
def test_a_checkout_runs_from_any_path_or_says_why_not(tiny: dict[str, Any], tmp_path: Path) -> None:
    project = Project.create(tmp_path / "it's a copy without executable bits", tiny)
    (project.folder / "workflow/bin/into").chmod(0o644)
    project.snakemake("--until", "mask")
    (log,) = project.results.glob("logs/mask/[!.]*")
    assert "---" in log.read_text()
    refused = Project.create(tmp_path / "br{ace}s", tiny).snakemake("-n", check=False)
    assert refused.returncode != 0
    assert "move the checkout to a path without { }" in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr


def test_results_moved_elsewhere_rerun_nothing(finished: Project, tmp_path: Path) -> None:
    """As rsync without `--times` brings them to another machine's disk, which the config names."""
    elsewhere = Project.create(tmp_path / "another/checkout", finished.config)
    shutil.copytree(finished.results, tmp_path / "disk/palette", copy_function=shutil.copyfile)
    for number, file in enumerate(sorted((tmp_path / "disk").rglob("*"))):
        os.utime(file, (2e9 - number, 2e9 - number))
    run = elsewhere.snakemake("--config", f"results={tmp_path / 'disk/palette'}")
    assert "Nothing to be done" in run.stderr


def test_the_plan_as_a_target_and_the_budget(project: Project) -> None:
    project.change(lambda c: c["models"]["palette"]["train"].update(learning_rate=2e-3))
    project.change(lambda c: c.update(budget={"gpu": "h100", "gpu_hours": 0}))
    with (project.folder / "palette/training/trainer.py").open("a") as file:
        file.write("\nANOTHER = 1\n")
    before = {file for file in project.results.rglob("*") if not {".cost", "logs"} & set(file.parts)}
    shown = project.snakemake("plan").stdout
    assert "models.palette.train.learning_rate: 0.001 → 0.002" in shown
    assert "GPU-hours" in shown
    assert "Done. Look at" not in shown
    lost = "photos-colorization-regression-s0: 8 of 8 steps, about "  # of the other model an option has changed too
    assert shown.count(" of 8 steps") == shown.count(lost) == 1
    assert "engine: palette/training/trainer.py changed" in shown
    refused = project.snakemake(check=False)
    assert refused.returncode != 0
    assert "above budget.gpu_hours: 0" in refused.stderr
    assert refused.stderr.index(lost) < refused.stderr.index("above budget")
    assert {file for file in project.results.rglob("*") if not {".cost", "logs"} & set(file.parts)} == before


def test_catalog_and_container_name_what_is_there() -> None:
    catalog = yaml.safe_load((CHECKOUT / ".snakemake-workflow-catalog.yml").read_text())
    assert catalog["usage"]["mandatory-flags"]["flags"] == ""
    lines = (CHECKOUT / "envs/Containerfile").read_text().splitlines()
    instructions = [line.split()[0] for line in lines if line and line[0].isalpha()]
    assert instructions[0] == "FROM"
    assert set(instructions) <= {"FROM", "LABEL", "ENV", "RUN", "COPY", "WORKDIR", "USER", "ENTRYPOINT", "CMD"}
    base = next(line for line in lines if line.startswith("FROM"))
    assert not base.endswith((":latest", ":slim"))
    for line in lines:
        if line.startswith("COPY") and "--from" not in line:
            assert all((CHECKOUT / source).exists() for source in line.split()[1:-1]), line
    assert any("--require-hashes -r envs/lock.txt" in line for line in lines)
