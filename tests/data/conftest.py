from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from palette.stages.base import Spec
from palette.stages.stage import Stage


@pytest.fixture
def stage_of(tmp_path: Path) -> Callable[[Spec], Stage[Any]]:
    """A stage of the given spec, with its results in a temporary folder."""
    return lambda spec: Stage(spec, tmp_path / "results")
