"""The profile for any queue, with a submit command that runs jobs in the background; requirements of all profiles."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from palette.planning.checks import read_config
from palette.planning.plan import Plan
from tests.workflow.project import CHECKOUT, Project

PROFILES = sorted(CHECKOUT.glob("workflow/profiles/*/config.yaml"))
SUBMIT = '#!/bin/sh\necho submitted >> submitted\ncp edited.json config.yaml\nnohup sh "$1" > job.out 2>&1 &\necho $!\n'


@pytest.mark.parametrize("profile", PROFILES, ids=lambda file: file.parent.name)
def test_every_profile_lets_a_run_recover(profile: Path) -> None:
    default = yaml.safe_load((CHECKOUT / "workflow/profiles/default/config.yaml").read_text())
    found = yaml.safe_load(profile.read_text())
    healing = {name: value for name, value in default.items() if name != "cores"}
    assert {name: found.get(name) for name in healing} == healing


@pytest.mark.parametrize("name", ["aws-batch", "googlebatch"])
def test_all_rules_with_gpus_request_them_by_the_plugins_names(name: str) -> None:
    profile = yaml.safe_load((CHECKOUT / f"workflow/profiles/{name}/config.yaml").read_text())
    plan = Plan(
        read_config(yaml.safe_load((CHECKOUT / "workflow/presets/smoke.yaml").read_text()), [Path("config.yaml")])
    )
    rules = {spec.kind for spec in plan.stages.values() if spec.runtime.gpus}
    assert set(profile["set-resources"]) == rules


@pytest.mark.slow
def test_jobs_go_through_the_submit_command_and_by_the_config_of_their_run(
    tiny: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("snakemake_executor_plugin_cluster_generic")
    project = Project.create(tmp_path / "project", tiny)
    edited = json.dumps(tiny | {"datasets": {}})  # with which no job could be planned
    (project.folder / "edited.json").write_text(edited)
    submit = tmp_path / "submit"
    submit.write_text(SUBMIT)
    submit.chmod(0o755)
    profile = ["--workflow-profile", "workflow/profiles/cluster-generic", "--cluster-generic-submit-cmd", str(submit)]
    project.snakemake(*profile, "--until", "prepare", "mask")
    assert list(project.results.glob("prepare/*/card.json"))
    assert (project.folder / "submitted").read_text().count("submitted") == 3
    assert (project.folder / "config.yaml").read_text() == edited


def test_a_log_keeps_what_snakemake_deletes(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    for text in ("first", "second"):
        log.unlink(missing_ok=True)
        into = ["sh", str(CHECKOUT / "workflow/bin/into"), str(log)]
        shown = subprocess.run(into, input=f"{text}\n", capture_output=True, text=True, check=True)
        assert shown.stdout == f"{text}\n"
    lines = [line for line in log.read_text().splitlines() if not line.startswith("--- ")]
    assert lines == ["first", "second"]
