"""`palette adopt` on the real DAG: an engine file changes, and the results stay."""

import json
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.workflow.project import Project

STORE = "data/store/store.py"
TRAINING = "train photos-colorization-regression-s0"


def edit(project: Project, module: str) -> None:
    with (project.folder / "palette" / module).open("a") as file:
        file.write("\nANOTHER = 1\n")


def adopt(project: Project, *arguments: str) -> str:
    command = [sys.executable, "-m", "palette", "adopt", *arguments]
    run = subprocess.run(command, cwd=project.folder, env=project.environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def by_name(project: Project) -> dict[str, str]:
    """SHA-256 by stage and file, without the hash in the folder's name; without tables, which name these folders."""
    found = {}
    for file, digest in project.artifacts().items():
        kind, folder, name = Path(file).parts
        if kind != "tabulate":
            assert found.setdefault(f"{kind}/{folder[:-11]}/{name}", digest) == digest  # old and new name
    return found


def test_changed_code_that_decides_nothing_costs_a_report(project: Project) -> None:
    made = by_name(project)
    edit(project, STORE)
    assert project.stale()["train"] == 2
    shown = adopt(project)
    assert f"{TRAINING}\n" in shown
    assert "    palette/data/store/store.py changed" in shown
    assert project.stale()["train"] == 2
    assert "by code alone: adopted." in adopt(project, "--yes")
    assert project.stale() == {"smoke": 1, "report": 1}
    project.snakemake()
    assert not project.stale()
    assert by_name(project) == made
    page = (project.results / "report/index.html").read_text()
    (card,) = [
        content
        for file in project.results.glob("train/*regression*/card.json")
        if "adopted" in (content := json.loads(file.read_text()))
    ]
    (sentence,) = card["adopted"]
    assert sentence.startswith(f"made by code {card['engine']}, adopted for ")
    assert sentence in page


def test_a_half_finished_training_goes_on_under_other_code(project: Project) -> None:
    (folder,) = project.results.glob("train/*regression*")
    weights = load_file(folder / "model.safetensors")
    for file in folder.iterdir():
        if file.name != "spec.yaml":
            file.unlink()
    for state in project.results.glob("state/*"):
        max(state.glob("step-*.pt")).unlink()
    edit(project, "training/loop.py")
    told = project.snakemake("-n")
    assert "LOST" in told.stdout + told.stderr
    assert "python -m palette adopt" in told.stdout + told.stderr
    shown = adopt(project, "--yes")
    assert f"{TRAINING}, state at step " in shown
    assert "    palette/training/loop.py changed" in shown
    assert project.stale_trainings() == {TRAINING.partition(" ")[2]}
    project.snakemake("--until", "train")
    (log,) = set((project.results / "logs/train").glob("photos-*-regression-*")) - {
        project.results / f"logs/train/{folder.name}.log"
    }
    assert "going on from step " in log.read_text()
    (card,) = project.results.glob("train/*regression*/card.json")
    found = load_file(card.with_name("model.safetensors"))
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())  # as if never interrupted
    assert " up to step " in json.loads(card.read_text())["adopted"][0]
