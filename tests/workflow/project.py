"""A separate project for a test: a copy of the checkout with a small config, in which the real `snakemake` runs."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from palette.system.files import sha256

CHECKOUT = Path(__file__).parents[2]
PARTS = ("Snakefile", "workflow", "palette", "profiles", "envs/conda.yaml")
COUNT = re.compile(r"^(\w+) +(\d+)$", re.MULTILINE)
TRAINING = re.compile(r"^Job \d+: train (\S+)-[0-9a-f]{10}$", re.MULTILINE)


@dataclass(frozen=True)
class Project:
    """A folder with everything that a user's checkout has."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @classmethod
    def create(cls, folder: Path, config: dict[str, Any]) -> "Project":
        for part in PARTS:
            source, target = CHECKOUT / part, folder / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir() and not source.is_symlink():
                shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target, follow_symlinks=False)
        project = cls(folder)
        project.write(config)
        return project

    def copy(self, folder: Path) -> "Project":
        """The same project, results, records and times included, at another place."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)

    @property
    def config(self) -> dict[str, Any]:
        return dict(yaml.safe_load((self.folder / "config.yaml").read_text()))

    def write(self, config: dict[str, Any]) -> None:
        (self.folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML, and knows no aliases

    def change(self, edit: Callable[[dict[str, Any]], object]) -> None:
        """Edit the config in place."""
        config = self.config
        edit(config)
        self.write(config)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """That of a user: no trace of the checkout under test on the paths."""
        return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SNAKEMAKE_PROFILE")} | {
            "OMP_NUM_THREADS": "1"
        }

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the real command; with `check`, fail the test with its output if it fails."""
        run = subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=900
        )
        if check:
            assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
        return run

    def _dry_run(self, *targets: str) -> str:
        run = self.snakemake("-n", *targets)
        return run.stdout + run.stderr

    def stale(self, *targets: str) -> dict[str, int]:
        """What would run: rule → number of jobs, without those that only name targets."""
        counts = {rule: int(number) for rule, number in COUNT.findall(self._dry_run(*targets))}
        return {rule: number for rule, number in counts.items() if rule not in ("all", "tables", "total")}

    def stale_trainings(self) -> set[str]:
        """The trainings that would run, without their hashes."""
        return set(TRAINING.findall(self._dry_run()))

    def artifacts(self) -> dict[str, str]:
        """SHA-256 of the models, samples, features, scores and tables, by path in the results folder."""
        patterns = (
            "train/*/model.safetensors",
            "sample/*/*.zip",
            "features/*/*.npz",
            "score/*/scores.json",
            "tabulate/*/*.csv",
        )
        files = sorted(file for pattern in patterns for file in self.results.glob(pattern))
        return {str(file.relative_to(self.results)): sha256(file) for file in files}
