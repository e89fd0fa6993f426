"""`palette plan`: jobs that a config would run now, the reasons for them, and their cost."""

import argparse
from pathlib import Path

HELP = "tell what a config would run now, why, and what it would cost; run nothing"
EXAMPLE = "python -m palette plan -c my.yaml --gpu h100 --gpus 8"


def arguments(parser: argparse.ArgumentParser) -> None:
    add, config = parser.add_argument, Path("config.yaml")
    add(
        "-c", "--config", type=Path, default=config, metavar="FILE", help="the workflow's config (default: %(default)s)"
    )
    add("--gpu", metavar="NAME", help="for this device: h100, a100, …, cpu (default: this machine's)")
    number = "wall time on N of them (default: those of the largest job; CPU cores: all)"
    add("--gpus", type=int, metavar="N", help=number)
    add("--nodes", type=int, default=1, metavar="N", help="in N machines (default: %(default)s)")
    add("--done", action="store_true", help="compare what finished jobs took with their estimates")
    add("--json", action="store_true", help="as JSON, with every job of the critical path")
    add("--write", action="store_true", help="write every stage's spec.yaml, for running stages by hand")


def run(arguments: argparse.Namespace) -> None:
    """Print the plan, and write the specs if requested. Runs nothing."""
    from palette.running.forecast import report
    from palette.running.start import plan_of, write_specs

    plan = plan_of([arguments.config])
    if arguments.write:
        write_specs(plan)
    options = {name: getattr(arguments, name) for name in ("gpu", "gpus", "nodes", "done")}
    print(report(plan, **options, as_json=arguments.json))
