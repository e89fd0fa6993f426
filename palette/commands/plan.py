"""`palette plan`: the stages of a config and which are done."""

import argparse
from pathlib import Path

HELP = "list the stages of a config and which are done"
EXAMPLE = "python -m palette plan -c config.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        default=Path("config.yaml"),
        metavar="FILE",
        help="the workflow's config (default: %(default)s)",
    )
    parser.add_argument(
        "--write", action="store_true", help="write every stage's spec.yaml, for running stages by hand"
    )


def run(arguments: argparse.Namespace) -> None:
    """Print one line a stage. Runs nothing."""
    from palette.workflow import plan_of

    plan = plan_of([arguments.config])
    for spec in plan.stages.values():
        done = all((plan.results / output).exists() for output in plan.outputs(spec.folder))
        print(f"{'done' if done else 'to do':5}  {plan.results / spec.folder}")
        if arguments.write:
            spec.write(plan.results)
