"""`palette gc`: results that no config refers to any more, and their removal."""

import argparse
from pathlib import Path

HELP = "show the results that no current spec refers to; with --delete, remove them"
EXAMPLE = "python -m palette gc -c a.yaml -c b.yaml --keep-days 14"


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "a workflow config whose results stay; several times for several (default: config.yaml)"
    parser.add_argument("-c", "--config", type=Path, action="append", metavar="FILE", help=text)
    parser.add_argument("--delete", action="store_true", help="delete; otherwise only show")
    parser.add_argument("--keep-days", type=float, default=0, metavar="N", help="leave what is younger than N days")


def run(arguments: argparse.Namespace) -> None:
    """Print the results that no config refers to, and delete them if requested."""
    from palette.errors import ConfigError
    from palette.running.cleanup import alone, delete, find
    from palette.running.start import plan_of
    from palette.system.units import scaled

    if not arguments.keep_days >= 0:
        raise ConfigError(f"--keep-days {arguments.keep_days:g}: should be a number of days, 0 or more.")
    plans = [plan_of([file]) for file in arguments.config or [Path("config.yaml")]]
    with alone(plans[0].results):
        heaps = find(plans, arguments.keep_days)
        for heap in heaps:
            left = f"; {heap.foreign} unknown files stay" if heap.foreign else ""
            print(f"{scaled(heap.bytes, 'B'):>9}  {heap.folder} ({len(heap.files)} files{left})")
        total = scaled(sum(heap.bytes for heap in heaps), "B")
        if arguments.delete:
            for heap in heaps:
                delete(heap)
        done = "deleted" if arguments.delete else "could go; --delete removes them"
        print(f"{total:>9}  {done}" if heaps else "Nothing to delete: every result is of these configs.")
