"""`palette config`: check of a config, or its schema and the reference of all options."""

import argparse
from pathlib import Path

HELP = "check a config, or print its schema or the reference of all options"
EXAMPLE = "python -m palette config -c my.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    add, default = parser.add_mutually_exclusive_group().add_argument, Path("config.yaml")
    add("-c", "--config", type=Path, default=default, metavar="FILE", help="the config to check (default: %(default)s)")
    add("--schema", action="store_true", help="print the JSON schema for editors")
    add("--reference", action="store_true", help="print docs/config.md")


def run(arguments: argparse.Namespace) -> None:
    """Check the config, or print the schema or the reference."""
    from palette.planning import config_reference
    from palette.running import start

    if arguments.schema:
        print(config_reference.schema(), end="")
    elif arguments.reference:
        print(config_reference.reference(), end="")
    else:
        plan = start.plan_of([arguments.config])
        print(f"{arguments.config}: {len(plan.rows)} experiments, {len(plan.stages)} stages, no mistakes.")
