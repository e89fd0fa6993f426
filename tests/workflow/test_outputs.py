"""Outputs of other methods as rows of the real DAG: scored like the row they were exported from, rerun when changed."""

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from palette.data.store.store import ImageStore
from tests.workflow.project import Project

pytestmark = pytest.mark.slow

ROW = {"dataset": "photos", "task": "colorization", "model": "theirs"}
ALONE = {"dataset": "photos", "task": "jpeg", "model": "theirs"}
"""Of a task without any model of ours."""


@pytest.fixture(scope="module")
def scored(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished project, with what its regression made as a folder of PNG, that is scored for two tasks."""
    project = finished.copy(tmp_path_factory.mktemp("outputs") / "project")
    folder = project.folder / "theirs"
    folder.mkdir()
    for shard in sorted(project.results.glob("sample/photos-colorization-regression-*/shard-*.zip")):
        with ImageStore(shard) as store:
            for position, name in enumerate(store.names):
                Image.fromarray(store[position]).save(folder / name)
    config = project.config
    config["folders"] = {"theirs": {"path": "theirs"}}
    config["tasks"]["jpeg"] = {"degradation": "jpeg", "quality": 10}
    config["experiments"] += [ROW, ALONE]
    project.write(config)
    assert not {"train", "extractor", "prepare"} & project.stale().keys()
    project.snakemake()
    return project


def scores(project: Project, experiment: str) -> dict[str, object]:
    """What the newest score of a row says."""
    rows = yaml.safe_load((project.results / "tabulate/smoke/spec.yaml").read_text())["rows"]
    (folder,) = [row["score"] for row in rows if row["experiment"] == experiment]
    return dict(json.loads((project.results / folder / "scores.json").read_text()))


def experiment(project: Project, task: str, model: str) -> str:
    rows = yaml.safe_load((project.results / "tabulate/smoke/spec.yaml").read_text())["rows"]
    (name,) = [row["experiment"] for row in rows if (row["task"], row["model"]) == (task, model)]
    return str(name)


def test_exported_outputs_score_as_the_row_that_made_them(scored: Project) -> None:
    ours, theirs = (scores(scored, experiment(scored, "colorization", model)) for model in ("regression", "theirs"))
    assert ours == theirs
    assert ours["scores"]


def test_pages_and_tables_include_them(scored: Project) -> None:
    assert (scored.results / "report/index.html").is_file()
    figures = {file.name for file in (scored.results / "report").rglob("*photos-jpeg*.png")}
    assert figures
    for file in (scored.results / "report").rglob("*.png"):
        with Image.open(file) as image:
            image.verify()
    table = (scored.results / "tabulate/smoke/smoke.csv").read_text()
    assert table.count(",theirs,") >= 2
    assert "theirs" in "".join(file.read_text() for file in (scored.results / "report").rglob("*.js*"))


def test_a_changed_file_reruns_these_rows_alone(scored: Project, tmp_path: Path) -> None:
    project = scored.copy(tmp_path / "project")
    assert project.stale() == {}
    project.change(lambda config: config["experiments"].remove(ALONE))
    project.snakemake()
    before = project.artifacts()
    file = sorted((project.folder / "theirs").iterdir())[0]
    size = file.stat().st_size
    Image.new("RGB", (16, 16), (200, 30, 30)).save(file)
    assert file.stat().st_size != size
    stale = project.stale()
    assert (stale["sample"], stale["features"], stale["score"]) == (2, 2, 1)
    assert not {"train", "extractor", "prepare", "fetch", "mask", "statistics"} & stale.keys()
    project.snakemake()
    made = {name for name, digest in project.artifacts().items() if before.get(name) != digest}
    assert {name.split("/")[1].partition("-theirs")[0] for name in made if "tabulate" not in name} == {
        "photos-colorization"
    }
