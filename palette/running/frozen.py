"""Plan of a run, saved for its jobs on other machines.

A job of a cluster reads the Snakefile anew. It must arrive at the plan that it was started for, even if the config has
been edited since, or if the user's folders are not mounted; and scanning a million files again would take longer than
most jobs.
"""

from dataclasses import fields
from pathlib import Path

from palette.config import Config
from palette.planning.plan import Plan
from palette.system.files import read_json, write_json

FILE = ".plan.json"
"""File in the results folder with the config, and what was found on the disk."""


def freeze(plan: Plan) -> None:
    """Save in the results folder what `plan` was made from."""
    made_of = {field.name: getattr(plan, field.name) for field in fields(plan) if field.init}
    weights = {kind: (str(file) if file else None, digest) for kind, (file, digest) in plan.weights.items()}
    write_json(plan.results / FILE, made_of | {"config": plan.config.model_dump(mode="json"), "weights": weights})


def thaw(results: Path) -> Plan:
    """Return the plan of the latest run in this results folder. Raises DataError if there is none."""
    made_of = read_json(results / FILE)
    weights = {kind: (Path(file) if file else None, digest) for kind, (file, digest) in made_of["weights"].items()}
    return Plan(**made_of | {"config": Config.model_validate(made_of["config"]), "weights": weights})
