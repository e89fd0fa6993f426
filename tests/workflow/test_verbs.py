"""The rules that users name have the names of the verbs, whatever else a stage makes."""

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from palette.planning.checks import RULES
from tests.workflow.project import CHECKOUT, Project


def test_rules_are_the_names_that_no_table_may_have() -> None:
    files = [CHECKOUT / "Snakefile", *CHECKOUT.glob("workflow/rules/*.smk")]
    found = {name for file in files for name in re.findall(r"^(?:use )?rule (\w+)", file.read_text(), re.MULTILINE)}
    assert found == {*RULES}


@pytest.mark.slow
def test_pairs_and_further_averages_run_until_a_verb(tiny: dict[str, Any], tmp_path: Path) -> None:
    for side in ("targets", "conditions"):
        (tmp_path / side / "a").mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (24, 24), (20 * number, 0, 0)).save(tmp_path / f"{side}/a/{number}.png")
    fetch = {"source": "pairs", "path": str(tmp_path / "targets"), "conditions": str(tmp_path / "conditions")}
    model = tiny["models"]["palette"]
    config = {
        **tiny,
        "datasets": {"mine": {"fetch": fetch, "prepare": {"image_size": 16, "train_images": 4, "test_images": 8}}},
        "tasks": {"translation": {"degradation": "paired"}},
        "models": {"palette": {**model, "train": {**model["train"], "ema_widths": [0.1]}}},
        "experiments": [{"dataset": "mine", "task": "translation", "model": "palette", "sampler": "dpm4"}],
        "score": {"extractors": ["pixels"]},
        "tables": {},
    }
    project = Project.create(tmp_path / "project", config)
    once = {"fetch": 1, "prepare": 1, "extractor": 1, "train": 1, "score": 1}
    assert project.stale("--until", "score") == {**once, "sample": 2, "features": 2}
    project.snakemake("--until", "prepare")
    (folder,) = project.results.glob("prepare/*")
    assert {file.stem for file in folder.glob("*.zip")} == {"train", "test", "train-conditions", "test-conditions"}
    assert not (project.results / "train").exists() or not list(project.results.glob("train/*/card.json"))
