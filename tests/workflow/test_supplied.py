"""Files that users must supply: a dry run lists them and the cost; a real run starts only with all of them."""

import re
from pathlib import Path
from typing import Any

from tests.workflow.project import COUNT, Project


def test_missing_imagenet(tiny: dict[str, Any], tmp_path: Path) -> None:
    datasets = {"photos": {**tiny["datasets"]["photos"], "fetch": {"source": "imagenet", "path": str(tmp_path / "in")}}}
    project = Project.create(tmp_path / "project", {**tiny, "datasets": datasets, "budget": {"gpu": "a100"}})
    planned = project.snakemake("-n", "--resources", "gpu=3")
    assert "To be supplied by hand" in planned.stderr
    assert "dataset photos: " in planned.stderr
    assert ("fetch", "1") in COUNT.findall(planned.stdout + planned.stderr)
    assert re.search(r"^ +GPU-hours +[\d.]+ on A100 SXM 80 GB$", planned.stderr, re.MULTILINE)
    assert re.search(r"^ +wall time +.* with 3 GPUs,", planned.stderr, re.MULTILINE)
    assert not project.results.exists()
    refused = project.snakemake(check=False)
    assert refused.returncode != 0
    assert "these must be supplied by hand" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list(project.results.glob("*/*/card.json"))
