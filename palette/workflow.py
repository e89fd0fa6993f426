"""What the Snakefile needs of the engine: the plan of its config, specs written when jobs start, one run at a time."""

import fcntl
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from palette.checks import read_config, refuse_full_disk
from palette.config import Config, Fetch
from palette.config_file import read_yaml
from palette.costs.budget import keep_within_budget
from palette.data.folders import pairs, walk
from palette.data.photos import PHOTOS
from palette.data.pictures import FORMATS
from palette.errors import ConfigError
from palette.plan import Plan
from palette.scoring.kinds import KINDS, require_packages, unable
from palette.scoring.weights import WEIGHTS, locate
from palette.stage import say


def _weights(config: Config, classes: Mapping[str, Sequence[str]]) -> dict[str, tuple[Path, str]]:
    """The pretrained weights that the config asks for: extractor → (file, sha256).

    Missing ones are an error now, not after a day, and so are missing packages.
    """
    score = config.score
    measured = {d for e in config.experiments for d in ([e.dataset] if isinstance(e.dataset, str) else e.dataset)}
    sizes = {dataset: config.datasets[dataset].prepare.image_size for dataset in measured}
    used = [kind for kind in score.extractors if any(unable(kind, sizes[d], classes.get(d)) is None for d in measured)]
    require_packages(used)
    return {
        kind: (locate(score.weights, kind, score.download), WEIGHTS[kind].sha256) for kind in used if kind in WEIGHTS
    }


def _classes(config: Config) -> dict[str, list[str]]:
    """The names of each dataset's classes, sorted, if there is an extractor that knows certain classes only."""
    if not any(KINDS[kind].imagenet for kind in config.score.extractors):
        return {}
    return {name: _classes_of(dataset.fetch) for name, dataset in config.datasets.items()}


def _classes_of(fetch: Fetch) -> list[str]:
    if fetch.path is None:
        return [photo.name for photo in PHOTOS]
    pictures = (file for file in walk(fetch.path) if file.lower().endswith(FORMATS))
    return sorted({file.partition("/")[0] if "/" in file else fetch.path.name for file in pictures})


def _listings(config: Config) -> dict[str, str]:
    """Of each dataset that is a folder, or two, a digest of the files' names and sizes.

    A folder that is not there is an error now, and so are images without a condition.
    """
    return {name: _listing(name, dataset.fetch) for name, dataset in config.datasets.items() if dataset.fetch.path}


def _listing(dataset: str, fetch: Fetch) -> str:
    lines: list[str] = []
    for option, folder in (("path", fetch.path), ("conditions", fetch.conditions)):
        if folder is None:
            continue
        if not folder.is_dir():
            raise ConfigError(f"datasets.{dataset}.fetch.{option}: no folder {folder}.")
        lines += sorted(f"{name} {(folder / name).stat().st_size}" for name in walk(folder) if (folder / name).exists())
    if fetch.path and fetch.conditions:
        pairs(fetch.path, fetch.conditions)
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:10]


def plan_of(files: Sequence[Path], raw: Mapping[str, Any] | None = None, check_disk: bool = True) -> Plan:
    """The plan of a config: of `files`, later ones over earlier ones, or of `raw` that was made from them.

    Raises ConfigError for every mistake in it, for missing weights and, unless only looking, for a disk that is too small;
    DataError for pictures without their partner in a dataset of pairs.
    """
    for file in files:
        read_yaml(file)  # for keys that stand twice, of which Snakemake's reader silently keeps the last
    config = read_config(raw if raw is not None else read_yaml(files[-1]), files)
    listings, classes = _listings(config), _classes(config)
    plan = Plan(config, _weights(config, classes), listings, classes)
    if check_disk:
        refuse_full_disk(plan)
    for note in plan.notes:
        say(note)
    return plan


def jobs_use(checkout: str) -> None:
    """Let jobs run the palette of `checkout` with this Python, from whichever folder and shell the run was started."""
    for name, place in (("PYTHONPATH", checkout), ("PATH", str(Path(sys.executable).parent))):
        os.environ[name] = os.pathsep.join(filter(None, [place, os.environ.get(name)]))
    os.environ["PYTHONSAFEPATH"] = "1"  # not a folder `palette` that happens to lie where the run was started


def start(plan: Plan) -> int:
    """Take the results folder for this run and write the specs of all stages; return the lock's descriptor.

    Above the config's budget, ask first. Raises ConfigError for a no, and where there is nobody to ask.

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
    keep_within_budget(plan)
    write_specs(plan)
    return descriptor


def write_specs(plan: Plan) -> None:
    """Write the spec of each stage into its folder, for the jobs to read."""
    for spec in plan.stages.values():
        spec.write(plan.results)
