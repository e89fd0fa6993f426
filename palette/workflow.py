"""What the Snakefile needs of the engine: the plan of its config, specs written when jobs start, one run at a time."""

import fcntl
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from palette.checks import read_config, refuse_full_disk
from palette.config import Config
from palette.config_file import read_yaml
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


def plan_of(files: Sequence[Path], raw: Mapping[str, Any] | None = None) -> Plan:
    """The plan of a config: of `files`, later ones over earlier ones, or of `raw` that was made from them.

    Raises ConfigError for every mistake in it, for missing weights and for a disk that is too small.
    """
    for file in files:
        read_yaml(file)  # before Snakemake's reader, which knows neither lines nor keys that stand twice
    config = read_config(raw if raw is not None else read_yaml(files[-1]), files)
    plan = Plan(config, _weights(config))
    refuse_full_disk(plan)
    return plan


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
