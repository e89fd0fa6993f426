"""`palette plan`: jobs that a config would run now, the reasons for them, and their cost."""

import argparse
import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from palette.errors import ConfigError

if TYPE_CHECKING:
    from palette.planning.plan import Plan
    from palette.planning.remaining import Job

HELP = "tell what a config would run now, why, and what it would cost; run nothing"
EXAMPLE = "python -m palette plan -c my.yaml --gpu h100 --gpus 8"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        default=Path("config.yaml"),
        metavar="FILE",
        help="the workflow's config (default: %(default)s)",
    )
    parser.add_argument("--gpu", metavar="NAME", help="for this device: h100, a100, …, cpu (default: this machine's)")
    parser.add_argument(
        "--gpus",
        type=int,
        metavar="N",
        help="wall time on N of them (default: those of the largest job; CPU cores: all)",
    )
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="in N machines (default: %(default)s)")
    parser.add_argument("--done", action="store_true", help="compare what finished jobs took with their estimates")
    parser.add_argument("--json", action="store_true", help="as JSON, with every job of the critical path")
    parser.add_argument(
        "--write", action="store_true", help="write every stage's spec.yaml, for running stages by hand"
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the plan, and write the specs if requested. Runs nothing."""
    from palette.running.start import plan_of, write_specs

    plan = plan_of([arguments.config])
    if arguments.write:
        write_specs(plan)
    print(shown(plan, arguments))


def options() -> argparse.Namespace:
    """Return the defaults of all arguments."""
    parser = argparse.ArgumentParser()
    arguments(parser)
    return parser.parse_args([])


def shown(plan: "Plan", arguments: argparse.Namespace) -> str:
    """Return the requested report on `plan` as text or JSON."""
    from palette.costs import text
    from palette.costs.summary import enough, planned
    from palette.costs.truth import truth

    if arguments.done:
        found = truth(plan, device_of(plan, arguments.gpu) if arguments.gpu else None)
        return json.dumps(found.facts(), indent=1) if arguments.json else text.compared(found)
    device = device_of(plan, arguments.gpu)
    gpus = enough(plan, device) if arguments.gpus is None else arguments.gpus
    if gpus < 1 or arguments.nodes < 1 or gpus % arguments.nodes:
        raise ConfigError(f"--gpus {gpus} --nodes {arguments.nodes}: each node has as many GPUs, one at least.")
    facts, _ = planned(plan, device, gpus, arguments.nodes)
    return json.dumps(facts, indent=1) if arguments.json else text.planned(facts)


def shown_briefly(plan: "Plan", files: Collection[str], gpus: int | None) -> str:
    """Return, in a few lines, the cost of the jobs that make any of `files`; empty if there are no such jobs.

    gpus: number of GPUs; None: as many as the largest job of the plan requests.
    """
    from palette.costs import text
    from palette.costs.summary import costed, enough

    jobs, device = jobs_that_make(plan, files), device_of(plan, None)
    if not jobs:
        return ""
    return shown_losses(plan, files) + text.briefly(costed(plan, device, gpus or enough(plan, device), jobs))


def shown_losses(plan: "Plan", files: Collection[str]) -> str:
    """Return what a code change throws away of the trainings that make any of `files`; empty if nothing."""
    from palette.costs import text
    from palette.costs.losses import losses

    return "\n".join(text.lost(losses(plan, jobs_that_make(plan, files), device_of(plan, None))))


def jobs_that_make(plan: "Plan", files: Collection[str]) -> dict[str, list["Job"]]:
    """Return the jobs that make any of `files`, by the folder of their stage.

    Only the first output of each job counts.
    """
    from palette.planning.remaining import jobs_of

    def runs(job: "Job") -> bool:
        return str(plan.results / plan.outputs(job.folder, job.shard)[0]) in files

    return {folder: stage for folder in plan.stages if (stage := [job for job in jobs_of(plan, folder) if runs(job)])}


def device_of(plan: "Plan", asked: str | None) -> str:
    """Return the key of the device named on the command line or in the config's budget, or of this machine's.

    Raises ConfigError for a device that the table lacks.
    """
    from palette.costs.gpus import GPUS, here

    budget = plan.config.budget
    name = asked or (budget.gpu if budget and budget.gpu else here())
    if name not in GPUS:
        raise ConfigError(f"--gpu {name}: not in the table. It has {', '.join(GPUS)}.")
    return name
