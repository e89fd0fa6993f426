"""The default run, as a new user starts it: it needs little memory, and its models have learned.

Its duration depends on the machine, so it is not tested, only listed among the slowest tests.
"""

import re
import resource
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.workflow.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

GIGABYTES = 3


@pytest.fixture(scope="module")
def run(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished project."""
    config = yaml.safe_load((checkout / "config.yaml").read_text())
    project = Project.create(tmp_path_factory.mktemp("default") / "project", config)
    subprocess.run(project.command(), cwd=project.folder, env=project.environment, check=True, timeout=3600)
    return project


@pytest.fixture(scope="module")
def scores(run: Project) -> pd.DataFrame:
    """One line per row and metric."""
    return pd.read_csv(run.results / "tabulate/photos/photos.csv")


def value(scores: pd.DataFrame, task: str, model: str, metric: str) -> float:
    found = scores[(scores.task == task) & (scores.model == model) & (scores.score == metric)].value
    assert len(found) == 1
    return float(found.iloc[0])


def test_needs_little_memory(run: Project) -> None:
    unit = 1 if sys.platform == "darwin" else 1024
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 1e9
    print(f"default run: largest process {largest:.2f} GB")
    assert 2 * largest < GIGABYTES  # two jobs at a time


@pytest.mark.parametrize("task", ["colorization", "inpainting", "uncropping", "jpeg"])
def test_diffusion_is_clearly_closer_to_the_originals_than_its_input(scores: pd.DataFrame, task: str) -> None:
    assert value(scores, task, "palette", "fd-photos") < 0.7 * value(scores, task, "input", "fd-photos")


def test_colorizations_have_color(scores: pd.DataFrame) -> None:
    assert 0.5 < value(scores, "colorization", "palette", "chroma-ratio") < 1.5
    assert value(scores, "colorization", "input", "chroma-ratio") < 0.1


def test_long_stages_showed_progress(run: Project) -> None:
    for pattern in ("train/*", "sample/*palette*"):
        logs = list((run.results / "logs").glob(pattern))
        assert logs, pattern
        for log in logs:
            assert re.search(r"\(\s*\d+%\), [\d.]+ \w+/s", log.read_text()), log


def test_nothing_is_left_to_do(run: Project) -> None:
    assert not run.stale()
