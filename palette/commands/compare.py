"""`palette compare`: comparison of two scores, and whether they differ by more than their uncertainty."""

import argparse
from pathlib import Path

HELP = "show what changed between two scores or results folders, and whether it exceeds the uncertainty"
EXAMPLE = "python -m palette compare results-old results --markdown"


def arguments(parser: argparse.ArgumentParser) -> None:
    what = "a results folder, a folder in results/score, or a scores.json"
    parser.add_argument("old", type=Path, metavar="A", help=f"the old scores: {what}")
    parser.add_argument("new", type=Path, metavar="B", help="the new ones")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print a Markdown table")
    form.add_argument("--json", action="store_true", help="print JSON, with all digits")
    parser.add_argument(
        "--allow-different-protocols",
        action="store_true",
        help="compare even what was scored under different protocols",
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the comparison. Exits with code 1 if a score is worse by more than the uncertainty of both."""
    import json

    from palette.errors import UserError
    from palette.publish import compare

    found = compare.compare(arguments.old, arguments.new, arguments.allow_different_protocols)
    if arguments.json:
        print(json.dumps(compare.as_json(found), indent=2, ensure_ascii=False))
    else:
        print(compare.as_markdown(found) if arguments.markdown else compare.as_text(found))
    if len(found.worse):
        names = ", ".join(f"{d.label} of {d.experiment}" for d in found.worse.itertuples())
        raise UserError(f"worse by more than the uncertainty: {names}.")
