"""Stage at run time: its spec, its folder, its parents' folders, and the card that it leaves."""

import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TypeVar

from palette import __version__
from palette.errors import DataError
from palette.stages.base import Spec
from palette.stages.fingerprint import digests, record_code
from palette.stages.reading import read_spec
from palette.system.files import read_json, sha256, write_json

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class Stage(Generic[S]):
    """Stage that a verb runs: `stage.spec`, `stage.path("shard-000.zip")`, `stage.parent("train", "model.json")`."""

    spec: S
    results: Path
    """Results folder, to which all paths in specs are relative."""
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def read(cls, spec_file: Path) -> "Stage[Any]":
        """Return the stage of a `results/<kind>/<name>/spec.yaml`."""
        spec = read_spec(spec_file)
        depth = len(Path(spec.folder).parts)
        return Stage(spec, spec_file.absolute().parents[depth])  # not resolved: a stage's folder may be a link

    def run(self, *shard: int) -> None:
        """Run the stage, or one shard of it, by the function `run` next to its spec."""
        record_code(self.results, self.spec.kind)
        import_module(type(self.spec).__module__).run(self, *shard)

    def path(self, name: str) -> Path:
        """Return the path of a file of this stage."""
        return self.results / self.spec.folder / name

    def parent(self, role: str, name: str) -> Path:
        """Return the path of a parent stage's file. Raises DataError if it does not exist."""
        path = self.results / self.spec.parents[role] / name
        if not path.exists():
            raise DataError(f"{path}: missing; the {role} stage has not run. `snakemake` runs it.")
        return path

    def forget_cards(self) -> None:
        """Delete the cards of earlier specs in a folder that keeps one result, which they no longer describe."""
        for card in self.path("").glob("card-*.json"):
            card.unlink()

    def write_card(self, artifacts: list[str], name: str = "", **facts: Any) -> None:
        """Write the card, after all other files: what was made, from what, by which code, where and in how long.

        artifacts: files of this stage, by name. name: card file, if not the stage's own (a shard has its own card).
        facts: further entries, JSON values.
        """
        card = self.path(name) if name else self.results / self.spec.card
        write_json(
            card,
            {
                "kind": self.spec.kind,
                "name": self.spec.name,
                "spec": self.spec.hash,
                "engine": self.spec.engine,
                "modules": digests(f"palette.stages.{self.spec.kind}"),
                "parents": {
                    role: {"folder": folder, "artifacts": artifacts_in(self.results / folder)}
                    for role, folder in self.spec.parents.items()
                },
                "artifacts": {
                    a: {"sha256": sha256(self.path(a)), "bytes": self.path(a).stat().st_size} for a in artifacts
                },
                "device": device(),
                **facts,
                "seconds": round(time.monotonic() - self.started, 1),
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "commit": commit(),
                "versions": versions(),
                "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            },
        )


def cards_in(folder: Path) -> list[dict[str, Any]]:
    """Return the cards in a stage's folder."""
    contents = [read_json(file) for file in sorted(folder.glob("*.json"))]
    return [content for content in contents if isinstance(content, dict) and "artifacts" in content]


def artifacts_in(folder: Path) -> dict[str, str]:
    """Return artifact → SHA-256, from the cards in a stage's folder."""
    return {name: facts["sha256"] for card in cards_in(folder) for name, facts in card["artifacts"].items()}


def verify(card: Path, artifact: str) -> Path:
    """Return the path of `artifact` next to its card. Raises DataError if its bytes differ from the card."""
    path, expected = card.parent / artifact, read_json(card)["artifacts"][artifact]["sha256"]
    if not path.exists() or sha256(path) != expected:
        raise DataError(
            f"{path}: not the file that its card describes. Delete {card.parent} and run `snakemake` again."
        )
    return path


def device() -> str:
    """Return the GPU's name, `NVIDIA H100 80GB HBM3`, if a GPU has been used, else `cpu`."""
    torch = sys.modules.get("torch")
    used = torch is not None and torch.cuda.is_initialized()
    return str(torch.cuda.get_device_name()) if torch and used else "cpu"


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of those packages that affect numbers, if they are loaded."""
    found = {"python": platform.python_version(), "palette": __version__}
    for package in ("torch", "torchvision", "numpy", "scipy", "pillow", "clean-fid"):
        if package.replace("-", "").replace("pillow", "PIL") in sys.modules:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                found[package] = "unknown"
    return found


def commit() -> str | None:
    """Return the git commit of this package's checkout, with `+changes` if files differ; None outside a checkout."""
    checkout = Path(__file__).parents[2]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(checkout), *arguments]
        return os.fsdecode(subprocess.run(command, capture_output=True, check=True).stdout).strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != checkout.resolve():  # an environment inside another repository
            return None
        head, dirty = git("rev-parse", "HEAD"), git("status", "--porcelain", "-uno", ".")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+changes" if dirty else "")
