"""Each family of the engine: the config offers what the engine has and nothing else, and knows it without slow imports."""

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from palette.config.models import Network, Objective
from palette.config.sampling import TWICE, Sampler
from palette.config.scores import Score, Table
from palette.diffusion.objective import LOSSES, OBJECTIVES, WEIGHTINGS
from palette.diffusion.samplers import SAMPLERS
from palette.model.networks import BACKBONES
from palette.scoring.extractors import EXTRACTORS
from palette.scoring.metrics import METRICS

FAMILIES: dict[str, tuple[Any, str, Collection[str]]] = {
    "backbone": (Network, "backbone", BACKBONES),
    "objective": (Objective, "kind", OBJECTIVES),
    "loss": (Objective, "loss", LOSSES),
    "weighting": (Objective, "weighting", WEIGHTINGS),
    "sampler": (Sampler, "kind", SAMPLERS),
    "metric": (Table, "columns", METRICS),
    "extractor": (Score, "extractors", EXTRACTORS),
}
"""Family → section and option of the config, and the engine's table."""


def offered(section: Any, option: str) -> list[str]:
    """The choices of an option in the JSON schema."""
    field = section.model_json_schema()["properties"][option]
    return list(field.get("items", field)["enum"])


@pytest.mark.parametrize("family", FAMILIES)
def test_no_row_without_a_name_and_no_name_without_a_row(family: str) -> None:
    section, option, rows = FAMILIES[family]
    assert sorted(offered(section, option)) == sorted(rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_config_takes_each_row_and_nothing_else(family: str) -> None:
    section, option, rows = FAMILIES[family]
    several = option in ("columns", "extractors")
    for name in rows:
        section.model_validate({option: [name] if several else name})
    with pytest.raises(ValidationError, match="should be"):
        section.model_validate({option: ["another"] if several else "another"})


def test_samplers_that_evaluate_twice_are_samplers() -> None:
    assert set(TWICE) <= set(SAMPLERS)


@pytest.mark.parametrize("module", ["palette.config", "palette.planning.plan", "palette.scoring.extractors"])
def test_choices_are_known_without_slow_imports(module: str, checkout: Path) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'scipy', 'skimage'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=checkout, check=False).returncode == 0
