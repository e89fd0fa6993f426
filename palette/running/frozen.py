"""The plan of a run, kept for its jobs on other machines.

A job of a cluster reads the Snakefile anew. It has to come to the plan that it was started for, also when the config was edited
since, or where the user's folders are not mounted; and to look through a million files again would take longer than most jobs.
"""

from dataclasses import fields
from pathlib import Path

from palette.config import Config
from palette.planning.plan import Plan
from palette.system.files import read_json, write_json

FILE = ".plan.json"
"""In the results folder: the config, and what was found on the disk."""


def freeze(plan: Plan) -> None:
    """Write down what `plan` was made of."""
    made_of = {field.name: getattr(plan, field.name) for field in fields(plan) if field.init}
    weights = {kind: (str(file) if file else None, digest) for kind, (file, digest) in plan.weights.items()}
    write_json(plan.results / FILE, made_of | {"config": plan.config.model_dump(mode="json"), "weights": weights})


def thaw(results: Path) -> Plan:
    """The plan of the run that began last in this results folder. Raises DataError without one."""
    made_of = read_json(results / FILE)
    weights = {kind: (Path(file) if file else None, digest) for kind, (file, digest) in made_of["weights"].items()}
    return Plan(**made_of | {"config": Config.model_validate(made_of["config"]), "weights": weights})
