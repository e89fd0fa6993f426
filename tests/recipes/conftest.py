"""A copy of the package in which a test follows a recipe of CONTRIBUTING.md."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]
RUN_ALL = """
from pathlib import Path

from palette.running.start import plan_of
from palette.stages.stage import Stage

plan = plan_of([Path("config.yaml")])
for spec in plan.stages.values():
    for shard in spec.shards or [None]:
        stage = Stage.read(spec.write(plan.results))
        stage.run(*([] if shard is None else [int(shard)]))
"""


@dataclass(frozen=True)
class Copy:
    """A folder with a copy of the package, which runs in processes of its own."""

    folder: Path

    def write(self, file: str, text: str) -> None:
        """Write a new file."""
        path = self.folder / file
        assert not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def insert(self, file: str, before: str, text: str) -> None:
        """Insert a text before the only place of another one in a file of the package."""
        path = self.folder / file
        content = path.read_text()
        assert content.count(before) == 1, (file, before)
        path.write_text(content.replace(before, text + before))

    def python(self, *arguments: str, code: int = 0) -> str:
        """Run Python here; return what it prints. code: the expected exit code."""
        variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PALETTE_DATA")}
        run = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**variables, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert run.returncode == code, run.stdout[-3000:] + run.stderr[-3000:]
        return run.stdout + run.stderr

    def palette(self, *arguments: str, code: int = 0) -> str:
        """Run a command of the copy."""
        return self.python("-m", "palette", *arguments, code=code)

    def configure(self, **sections: Any) -> None:
        """Write a config of one tiny dataset whose images are compared by their pixels, without any training."""
        prepare = {"image_size": 16, "train_images": 4, "test_images": 6}
        config = {
            "results": "results",
            "datasets": {"tiny": {"prepare": prepare}},
            "tasks": {"gray": {"degradation": "colorization"}},
            "score": {"extractors": ["pixels"], "bootstrap": 20},
            "experiments": [{"dataset": "tiny", "model": "originals"}],
            "report": {"inputs": 2},
        }
        (self.folder / "config.yaml").write_text(json.dumps({**config, **sections}))

    def run(self) -> str:
        """Run all stages of the config; return its table."""
        self.python("-c", RUN_ALL)
        (table,) = (self.folder / "results").glob("tabulate/*/scores.md")
        return table.read_text()


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """A copy of the package of the test's own."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "palette", tmp_path / "copy/palette", ignore=ignored)
    return Copy(tmp_path / "copy")
