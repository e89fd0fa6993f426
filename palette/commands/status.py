"""`palette status`: jobs that are running, where they run, and their progress."""

import argparse
from pathlib import Path

HELP = "tell what runs where, how far it is, what failed and what waits"
EXAMPLE = "python -m palette status --watch 10"


def arguments(parser: argparse.ArgumentParser) -> None:
    add, default = parser.add_argument, Path("results")
    folder = "the results folder (default: %(default)s); any machine that sees it will do"
    add("-r", "--results", type=Path, default=default, metavar="DIR", help=folder)
    add("--json", action="store_true", help="print JSON")
    add("--watch", type=float, metavar="SECONDS", help="print it again and again, until Ctrl-C")


def run(arguments: argparse.Namespace) -> None:
    """Print the status, again and again with `--watch`. Only reads files."""
    import json
    import time

    from palette.errors import ConfigError
    from palette.running import status

    if arguments.watch is not None and not 0 < arguments.watch < 1e6:
        raise ConfigError(f"--watch {arguments.watch:g}: should be a number of seconds above 0, 10 for example.")
    while True:
        found = status.of_results(arguments.results)
        print(json.dumps(found, indent=2, ensure_ascii=False) if arguments.json else status.text(found), flush=True)
        if arguments.watch is None:
            return
        time.sleep(arguments.watch)
        print()
