"""Files that a user must supply: a dry run tells them, a real run begins with them or not at all."""

from pathlib import Path
from typing import Any

from tests.workflow.project import COUNT, Project


def test_imagenet_that_is_not_there(tiny: dict[str, Any], tmp_path: Path) -> None:
    datasets = {"photos": {**tiny["datasets"]["photos"], "fetch": {"source": "imagenet", "path": str(tmp_path / "in")}}}
    project = Project.create(tmp_path / "project", {**tiny, "datasets": datasets})
    planned = project.snakemake("-n")
    assert "To be supplied by hand" in planned.stderr
    assert "dataset photos: " in planned.stderr
    assert ("fetch", "1") in COUNT.findall(planned.stdout + planned.stderr)
    refused = project.snakemake(check=False)
    assert refused.returncode != 0
    assert "these must be supplied by hand" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list(project.results.glob("*/*/card.json"))
