"""Every command in README, docs and comments of configs: it parses, and its targets and files exist."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from palette.cli import parser
from palette.planning.checks import RULES
from tests.workflow.project import CHECKOUT, Project

FILES = sorted(
    str(file.relative_to(CHECKOUT))
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "config.yaml", "workflow/*/*.yaml", "workflow/*/*/*.yaml")
    for file in CHECKOUT.glob(pattern)
    if file.name != "CHANGELOG.md"
)
START = r"(?:snakemake|python -m palette|make)(?= |$)"
ALONE = re.compile(rf"^(?:    |# ?)?({START}.*?)(?: {{2,}}.*| #.*)?$", re.MULTILINE)
INLINE = re.compile(rf"`({START}[^`]*)`")
ANYTHING = ("NAME", "…")


def commands(file: str) -> Iterator[str]:
    """The commands of a file: in backticks, or on a line of their own."""
    text = re.sub(r"\\\n\s*", "", (CHECKOUT / file).read_text(encoding="utf-8"))
    yield from (match.strip() for pattern in (INLINE, ALONE) for match in pattern.findall(text))


EVERY = sorted({command: file for file in FILES for command in commands(file)}.items())
OF_SNAKEMAKE = [pytest.param(c, id=f"{file}: {c}") for c, file in EVERY if c.startswith("snakemake")]


def tables() -> set[str]:
    """The tables of all configs here."""
    configs = [CHECKOUT / "config.yaml", *CHECKOUT.glob("workflow/presets/*.yaml")]
    return {name for file in configs for name in yaml.safe_load(file.read_text()).get("tables", {})}


def test_commands_are_found() -> None:
    found = dict(EVERY)
    for command in (
        "make demo",
        "snakemake -n",
        "snakemake table_4 --configfile workflow/presets/paper.yaml",
        "python -m palette import 256x256_diffusion_uncond.pt -o models/adm",
    ):
        assert command in found, sorted(found)
    assert any("slurm_account=vision" in command for command in found), "a command on two lines"


def test_commands_of_snakemake_mean_what_they_say() -> None:
    from snakemake.cli import get_argument_parser

    reader, targets = get_argument_parser(), {*RULES, *tables(), *ANYTHING}
    for command, file in EVERY:
        if not command.startswith("snakemake"):
            continue
        told = reader.parse_args(shlex.split(command)[1:])
        assert {*told.targets} <= targets, (file, command)
        assert {*told.until} <= targets, (file, command)
        for config in told.configfile or []:
            assert config == Path("my.yaml") or (CHECKOUT / config).is_file(), (file, command)
        assert told.workflow_profile is None or (CHECKOUT / told.workflow_profile / "config.yaml").is_file(), command


def test_other_commands_parse() -> None:
    goals = set(re.findall(r"^(\w+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    for command, file in EVERY:
        words = shlex.split(command.replace("<verb>", "sample"))
        if words[0] == "make":
            assert {*words[1:]} <= goals, (file, command)
        elif words[0] == "python" and len(words) > 4:  # else it only names a command
            parser().parse_args(words[3:])


@pytest.fixture(scope="module")
def checkout(tiny: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.create(tmp_path_factory.mktemp("documented") / "project", tiny)
    shutil.copy(project.folder / "config.yaml", project.folder / "my.yaml")
    return project


@pytest.mark.slow
@pytest.mark.parametrize("command", OF_SNAKEMAKE)
def test_documented_commands_plan(checkout: Project, command: str) -> None:
    words = shlex.split(command)[1:]
    if {*words} & {*ANYTHING, "table_1"}:
        pytest.skip("stands for others")
    if "workflow/presets/paper.yaml" in words and words[0] != "table_4":
        pytest.skip("minutes, and tests/planning/test_presets.py plans it")
    if "--workflow-profile" in words:
        profile = CHECKOUT / words[words.index("--workflow-profile") + 1] / "config.yaml"
        executor = str(yaml.safe_load(profile.read_text(encoding="utf-8")).get("executor"))
        pytest.importorskip(f"snakemake_executor_plugin_{executor.replace('-', '_')}", exc_type=ImportError)
    checkout.snakemake(*words, "-n")
