"""`palette adopt`: results of earlier code for the present plan, if no option and no data differs."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palette.running.adopt import Adoption

HELP = "show the results that differ from a config's plan by code alone; with --yes, keep them for it"
EXAMPLE = "python -m palette adopt -c my.yaml --yes"


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "the workflow's config (default: %(default)s)"
    parser.add_argument("-c", "--config", type=Path, default=Path("config.yaml"), metavar="FILE", help=text)
    parser.add_argument("--yes", action="store_true", help="take them over; otherwise only show")


def run(arguments: argparse.Namespace) -> None:
    """Print what can be adopted, and adopt it if requested."""
    from palette.running.adopt import find, take_over
    from palette.running.cleanup import alone
    from palette.running.start import plan_of

    plan = plan_of([arguments.config])
    if not arguments.yes or not plan.results.is_dir():
        print(shown(find(plan), "--yes adopts them"))
        return
    with alone(plan.results):
        adoptions = find(plan)
        take_over(plan, adoptions)
        print(shown(adoptions, "adopted"))


def shown(adoptions: Sequence["Adoption"], fate: str) -> str:
    """Return a line for each stage and state, and below those that the same code changes concern, its files."""
    if not adoptions:
        return "Nothing to adopt: no results differ from the plan by code alone."
    alike: dict[tuple[str, ...], list[str]] = {}
    for adoption in adoptions:
        alike.setdefault((adoption.spec.kind, *adoption.earlier.own_changes), []).append(adoption.title)
    lines = []
    for (_, *changes), titles in alike.items():
        lines += [*titles, *(f"    {change.removeprefix('engine: ')}" for change in changes or ["code of its parents"])]
    states = sum(adoption.steps > 0 for adoption in adoptions)
    counts = f"Stages: {len(adoptions) - states}. Training states: {states}."
    return "\n".join([*lines, f"{counts} They differ from the plan by code alone: {fate}."])
