"""The tiny config, and the project in which it has run to the end."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from palette.system.locks import held
from tests.workflow.project import CHECKOUT, Project


@pytest.fixture(scope="session")
def tiny() -> dict[str, Any]:
    """The smoke preset, smaller still: two models, two shards."""
    smoke = yaml.safe_load((CHECKOUT / "workflow/presets/smoke.yaml").read_text())
    smoke["datasets"]["photos"]["prepare"]["test_images"] = 8
    experiments = [
        {"dataset": "photos", "task": "inpainting", "model": "palette", "sampler": "dpm4"},
        {"dataset": "photos", "task": "colorization", "model": "regression"},
        {"dataset": "photos", "model": "originals"},
    ]
    return {**smoke, "results": "results", "experiments": experiments}


@pytest.fixture(scope="session")
def finished(tiny: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Run once, to the end, for all workers of xdist. Not to be changed: take a copy."""
    temporary = tmp_path_factory.getbasetemp()
    shared = temporary.parent if "PYTEST_XDIST_WORKER" in os.environ else temporary
    folder = shared / "finished/project"
    folder.parent.mkdir(exist_ok=True)
    with held(shared / "finished.lock"):
        project = Project(folder)
        if not (project.results / "report/index.html").exists():
            Project.create(folder, tiny).snakemake()
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A finished project of the test's own."""
    return finished.copy(tmp_path / "project")
