"""The end of a run: its cost page and the config's hooks. Both report what happened, and neither hides a failure."""

import re
from pathlib import Path

import pytest

from tests.workflow.project import Project

TELL = 'echo "{name}|$PALETTE_RESULTS|$PALETTE_PAGE|$PALETTE_LOG" >> told; exit 3'
"""A hook that leaves a line, and fails."""
HOOKS = {name: TELL.format(name=name) for name in ("success", "error")}


@pytest.fixture(scope="module")
def hooked(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished project with hooks, and without its table and report, which are to be made again. Take a copy."""
    project = finished.copy(tmp_path_factory.mktemp("hooked") / "project")
    project.change(lambda config: config.update(hooks=HOOKS))
    for file in ("tabulate/smoke/smoke.csv", "report/index.html", "report/cost.html"):
        (project.results / file).unlink()
    return project


def told(project: Project) -> list[list[str]]:
    """The lines that hooks have left."""
    file = project.folder / "told"
    return [line.split("|") for line in file.read_text().splitlines()] if file.exists() else []


def log_of(project: Project, name: str) -> str:
    """What stands in the log that the one hook was told of, which was this one."""
    ((hook, results, page, log),) = told(project)
    assert hook == name
    assert (Path(results), Path(page)) == (project.results, project.results / "report/index.html")
    return Path(log).read_text()


def test_the_success_hook_runs_once_and_its_failure_changes_nothing(hooked: Project, tmp_path: Path) -> None:
    project = hooked.copy(tmp_path / "project")
    assert project.stale() == {"smoke": 1, "report": 1}
    assert told(project) == []  # a dry run is none
    run = project.snakemake()
    assert "tabulate smoke" in log_of(project, "success")
    assert "ended with code 3" in run.stdout + run.stderr
    assert (project.results / "report/index.html").is_file()


def test_the_error_hook_runs_once_and_its_failure_does_not_hide_the_error(hooked: Project, tmp_path: Path) -> None:
    project = hooked.copy(tmp_path / "project")
    for file in project.results.glob("score/*/scores.json"):
        file.write_text("{")
    run = project.snakemake(check=False)
    assert run.returncode == 1
    assert "Error in rule smoke" in log_of(project, "error")
    assert "not readable as JSON" in run.stdout + run.stderr
    assert "A job failed" in run.stdout
    assert not (project.results / "report/index.html").exists()
    assert "2 left" in (project.results / "report/cost.html").read_text()


def test_the_report_links_to_estimated_and_actual_costs(finished: Project) -> None:
    report = finished.results / "report"
    assert 'href="cost.html"' in (report / "index.html").read_text()
    page = (report / "cost.html").read_text()
    rows = re.findall(r"<th scope=\"row\">(\w+)</th><td>(\d+)</td>", page)
    counts = {kind: int(jobs) for kind, jobs in rows}
    cards = {"train": "card.json", "sample": "shard-*.json", "features": "shard-*.json", "tabulate": "card-*.json"}
    made = {kind: len([*finished.results.glob(f"{kind}/*/{name}")]) for kind, name in cards.items()}
    assert counts == counts | made | {"report": 1}
    assert "none left" in page
