"""What the Snakefile needs of the engine: the plan of its config, specs written when jobs start, one run at a time."""

import fcntl
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from palette.checks import read_config, refuse_full_disk
from palette.config import Config
from palette.config_file import read_yaml
from palette.data.folders import walk
from palette.errors import ConfigError
from palette.plan import Plan
from palette.scoring.weights import WEIGHTS, locate


def _weights(config: Config) -> dict[str, tuple[Path, str]]:
    """The pretrained weights that the config asks for: extractor → (file, sha256). Missing ones are an error now, not after a day."""
    score = config.score
    return {
        name: (locate(score.weights, name, score.download), WEIGHTS[name].sha256)
        for name in score.extractors
        if name in WEIGHTS
    }


def _listings(config: Config) -> dict[str, str]:
    """Of each dataset that is a folder, a digest of its files' names and sizes. A folder that is not there is an error now."""
    folders = {name: d.fetch.path.expanduser() for name, d in config.datasets.items() if d.fetch.path}
    for name, folder in folders.items():
        if not folder.is_dir():
            raise ConfigError(f"datasets.{name}.fetch.path: no folder {folder.absolute()}.")
    return {name: _listing(folder) for name, folder in folders.items()}


def _listing(folder: Path) -> str:
    lines = sorted(f"{name} {(folder / name).stat().st_size}" for name in walk(folder) if (folder / name).exists())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:10]


def plan_of(files: Sequence[Path], raw: Mapping[str, Any] | None = None) -> Plan:
    """The plan of a config: of `files`, later ones over earlier ones, or of `raw` that was made from them.

    Raises ConfigError for every mistake in it, for missing weights and for a disk that is too small.
    """
    for file in files:
        read_yaml(file)  # for keys that stand twice, of which Snakemake's reader silently keeps the last
    config = read_config(raw if raw is not None else read_yaml(files[-1]), files)
    plan = Plan(config, _weights(config), _listings(config))
    refuse_full_disk(plan)
    return plan


def jobs_use(checkout: str) -> None:
    """Let jobs run the palette of `checkout` with this Python, from whichever folder and shell the run was started."""
    for name, place in (("PYTHONPATH", checkout), ("PATH", str(Path(sys.executable).parent))):
        os.environ[name] = os.pathsep.join(filter(None, [place, os.environ.get(name)]))
    os.environ["PYTHONSAFEPATH"] = "1"  # not a folder `palette` that happens to lie where the run was started


def start(plan: Plan) -> int:
    """Take the results folder for this run and write the specs of all stages; return the lock's descriptor.

    The kernel frees the lock however the run ends, so nothing is left to unlock after `kill -9`.
    """
    plan.results.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(plan.results / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ConfigError(
            f"{plan.results}: another snakemake is running in this folder. Wait for it, or stop it."
        ) from None
    for spec in plan.stages.values():
        spec.write(plan.results)
    return descriptor
