"""The recipes of CONTRIBUTING.md for a kind of stage, a command, a GPU, a preset and a cluster profile, in a copy of the package."""

import subprocess
import sys
from typing import Any

import pytest
import yaml
from PIL import Image

from tests.workflow.project import CHECKOUT, Project

STAGE = '''
"""Show the first samples of a row side by side.

Example: python -m palette strip -c results/strip/photos-colorization-input-1a2b3c4d5e/spec.yaml
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from palette.data.store.store import ImageStore
from palette.stages.base import Spec, Usual
from palette.stages.stage import Stage
from palette.system.files import replacing

if TYPE_CHECKING:
    from palette.planning.plan import Plan


class StripSpec(Spec):
    """Strip: sample → `strip.png`."""

    kind = "strip"
    verb = "strip"
    reads = ("sample",)
    files = ("strip.png",)
    usual = Usual(memory_gb=1, hours=1)
    images: int

    @classmethod
    def planned(cls, plan: "Plan") -> Iterable[Spec]:
        sampled = [row for row in plan.rows if row.sample]
        return [cls(name=row.experiment, parents={"sample": row.sample}, images=3) for row in sampled]


def run(stage: Stage[StripSpec]) -> None:
    """Write `strip.png`."""
    import numpy as np
    from PIL import Image

    store = ImageStore(stage.parent("sample", "shard-000.zip"))
    images = [store[index] for index in range(stage.spec.images)]
    with replacing(stage.path("strip.png")) as temporary:
        Image.fromarray(np.concatenate(images, axis=1)).save(temporary, "PNG")
    stage.write_card(["strip.png"])
'''
RULE = """
rule strip:
    input:
        needed("strip"),
    output:
        strip=results / "strip/{stage}/strip.png",
        card=results / "strip/{stage}/card.json",
    log:
        results / "logs/strip/{stage}.log",
    resources:
        **asked("strip"),
    params:
        spec=spec_of("strip"),
    shell:
        "python -m palette strip -c {params.spec:q} 2>&1 | into {log:q}"


rule strips:
    input:
        [made(spec.folder) for spec in plan.of_kind("strip")],
"""
COMMAND = '''
"""`palette rows`: names of a config's rows."""

import argparse
from pathlib import Path

HELP = "list the rows of a config"
EXAMPLE = "python -m palette rows config.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path)


def run(arguments: argparse.Namespace) -> None:
    """Print a name a line."""
    from palette.running.start import plan_of

    print(*(row.experiment for row in plan_of([arguments.config]).rows), sep="\\n")
'''
GPU = '    "x9000": Gpu("X 9000", "X9000", 4000 * TERA, 2000 * TERA, 500 * GIB),\n'


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the checkout in which all of the recipes have been followed, each in the files that it names."""
    config: dict[str, Any] = yaml.safe_load((CHECKOUT / "workflow/presets/smoke.yaml").read_text())
    row = {"dataset": "photos", "task": "colorization", "model": "input"}
    config |= {"results": "results", "experiments": [row], "tables": {"scores": {}}, "report": {"gallery_images": 0}}
    config["score"] = {"extractors": ["pixels"]}
    project = Project.create(tmp_path_factory.mktemp("recipes") / "project", config)
    write(project, "palette/stages/strip.py", STAGE)
    write(project, "workflow/rules/strip.smk", RULE)
    write(project, "palette/commands/rows.py", COMMAND)
    gpus = project.folder / "palette/costs/gpus.py"
    gpus.write_text(gpus.read_text().replace('    "h200": Gpu', f'{GPU}    "h200": Gpu'))
    write(project, "workflow/presets/mine.yaml", yaml.safe_dump({**config, "results": "results/mine"}))
    healing = yaml.safe_load((project.folder / "workflow/profiles/default/config.yaml").read_text())
    options = {**healing, "jobs": 3, "default-resources": ["mem_mb=500"]}
    write(project, "workflow/profiles/mine/config.yaml", yaml.safe_dump(options))
    return project


def write(project: Project, name: str, text: str) -> None:
    file = project.folder / name
    assert not file.exists()
    file.parent.mkdir(exist_ok=True)
    file.write_text(text.lstrip())


def palette(project: Project, *arguments: str) -> str:
    """Run a command of the copied package; return what it prints."""
    command = [sys.executable, "-m", "palette", *arguments]
    run = subprocess.run(
        command, cwd=project.folder, env=project.environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


@pytest.mark.slow
def test_a_kind_of_stage_is_its_file_and_its_rule(project: Project) -> None:
    """It is planned, costed, run, listed by `status`, started again for a change of its code, and cleaned up."""
    text = " ".join(palette(project, "strip", "--help").split())
    assert "Show the first samples of a row side by side." in text
    assert "example: python -m palette strip -c results/strip/" in text
    assert "strip" in palette(project, "--help")
    jobs = {"fetch": 1, "prepare": 1, "sample": 3, "strip": 1}
    assert project.stale("strips") == jobs | {"strips": 1}
    project.snakemake("strips")
    (strip,) = project.results.glob("strip/photos-colorization-input-*/strip.png")
    with Image.open(strip) as image:
        assert image.size == (48, 16)
    assert "strip" not in project.stale("strips")
    file = project.folder / "palette/stages/strip.py"
    code = file.read_text()
    file.write_text(code.replace("axis=1", "axis=0"))
    assert project.stale("strips") == {"strip": 1, "strips": 1}
    assert strip.parent.name in palette(project, "gc")
    file.write_text(code)


def test_a_command_is_one_file(project: Project) -> None:
    assert "list the rows of a config" in palette(project, "--help")
    assert palette(project, "rows", "config.yaml") == "photos-colorization-input\n"


def test_a_gpu_to_plan_for_is_one_row(project: Project) -> None:
    assert "on X 9000" in palette(project, "plan", "--gpu", "x9000")
    budgeted = project.folder / "budget.yaml"
    budgeted.write_text(yaml.safe_dump({**project.config, "budget": {"gpu": "x9000"}}))
    assert "on X 9000" in palette(project, "plan", "-c", "budget.yaml")


def test_a_preset_is_one_config(project: Project) -> None:
    assert "1 experiments" in palette(project, "config", "-c", "workflow/presets/mine.yaml")


@pytest.mark.slow
def test_a_cluster_profile_is_one_file(project: Project) -> None:
    run = project.snakemake("-n", "--workflow-profile", "workflow/profiles/mine")
    assert "profile workflow/profiles/mine" in run.stderr
    assert "Estimated cost" in run.stderr
