"""`python -m palette <verb>`: one subcommand a verb, each running one stage from its spec, and a few for the config.

Only the standard library is imported until a subcommand is known, so that help comes at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from palette import __version__
from palette.errors import ConfigError, Interrupted, UserError

VERBS = {
    "fetch": "get a dataset's original images and record where they came from",
    "prepare": "make square images of one size: a training and a test store",
    "mask": "draw the evaluation masks, one per test image",
    "train": "train a model, or go on where an interrupted training stopped",
    "sample": "restore the degraded test images with a trained model",
    "score": "train or check the feature network, extract features, compute scores",
    "tabulate": "make the tables: CSV, Markdown, LaTeX",
    "report": "draw the figures and the page that shows everything",
}
EXAMPLES = {
    "train": "python -m palette train -c results/train/photos-palette-s0-1a2b3c4d5e/spec.yaml",
    "sample": "python -m palette sample -c results/sample/photos-jpeg-palette-dpm20-s0-1a2b3c4d5e/spec.yaml --shard 0",
    "score": "python -m palette score -c results/score/photos-jpeg-palette-dpm20-s0-1a2b3c4d5e/spec.yaml",
    "tabulate": "python -m palette tabulate -c results/tabulate/spec.yaml",
    "report": "python -m palette report -c results/report/spec.yaml",
}
SHARDED = ("sample", "features")


def _spec_example(verb: str) -> str:
    return EXAMPLES.get(verb, f"python -m palette {verb} -c results/{verb}/photos-1a2b3c4d5e/spec.yaml")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m palette",
        description="Palette: image-to-image diffusion models. Each verb runs one stage; `snakemake` runs them all.",
        epilog="Exit codes: 0 done, 2 config or usage, 3 data, 75 interrupted (the same command goes on).",
    )
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", metavar="command", required=True)
    for verb, text in VERBS.items():
        sub = commands.add_parser(
            verb, help=text, description=text.capitalize() + ".", epilog=f"example: {_spec_example(verb)}"
        )
        sub.add_argument(
            "-c",
            "--config",
            type=Path,
            required=True,
            metavar="SPEC",
            help="spec.yaml of the stage; `snakemake` writes them",
        )
        if verb == "train":
            sub.add_argument("--gpus", type=int, metavar="N", help="take at most N of the GPUs that the spec asks for")
        if verb in ("sample", "score"):
            sub.add_argument(
                "--shard",
                type=int,
                metavar="N",
                help="which shard of a scattered stage, from 0; all of them if left out",
            )
    plan = commands.add_parser(
        "plan",
        help="list the stages of a config and which are done",
        description="List the stages of a config and which are done. Runs nothing.",
        epilog="example: python -m palette plan -c config.yaml",
    )
    plan.add_argument(
        "-c",
        "--config",
        type=Path,
        default=Path("config.yaml"),
        metavar="FILE",
        help="the workflow's config (default: %(default)s)",
    )
    plan.add_argument("--write", action="store_true", help="write every stage's spec.yaml, for running stages by hand")
    config = commands.add_parser(
        "config",
        help="check a config, or print its schema or reference",
        description="Check a config; or print the JSON schema for editors, or the reference of all options.",
        epilog="example: python -m palette config -c my.yaml",
    )
    what = config.add_mutually_exclusive_group()
    what.add_argument(
        "-c",
        "--config",
        type=Path,
        default=Path("config.yaml"),
        metavar="FILE",
        help="the config to check (default: %(default)s)",
    )
    what.add_argument("--schema", action="store_true", help="print the JSON schema")
    what.add_argument("--reference", action="store_true", help="print docs/config.md")
    return top


def _run_stage(verb: str, file: Path, shard: int | None, gpus: int | None) -> None:
    from importlib import import_module

    from palette.fingerprint import fingerprint
    from palette.gpu import lease
    from palette.stage import Stage

    stage = Stage.read(file)
    spec = stage.spec
    if spec.verb != verb:
        raise ConfigError(f"{file}: this is a {spec.kind} stage; run `python -m palette {spec.verb} -c {file}`.")
    if spec.engine and spec.engine != fingerprint(f"palette.verbs.{spec.kind}"):
        raise ConfigError(f"{file}: planned for other code than is here now. Run `snakemake` again: it plans anew.")
    os.environ.setdefault("OMP_NUM_THREADS", str(spec.runtime.threads))
    with lease(spec.runtime.gpus if gpus is None else min(gpus, spec.runtime.gpus)):
        run = import_module(f"palette.verbs.{spec.kind}").run
        if spec.kind not in SHARDED:
            run(stage)
            return
        count = -(-spec.count // spec.shard_size)
        if shard is not None and not 0 <= shard < count:
            raise ConfigError(f"--shard {shard}: {file} has {count} shards, 0 to {count - 1}.")
        for number in [shard] if shard is not None else range(count):
            run(stage, number)


def _plan(file: Path, write: bool) -> None:
    from palette.workflow import plan_of

    plan = plan_of([file])
    for spec in plan.stages.values():
        done = all((plan.results / output).exists() for output in plan.outputs(spec.folder))
        print(f"{'done' if done else 'to do':5}  {plan.results / spec.folder}")
        if write:
            spec.write(plan.results)


def _config(arguments: argparse.Namespace) -> None:
    from palette import config_docs, workflow

    if arguments.schema:
        print(config_docs.schema(), end="")
    elif arguments.reference:
        print(config_docs.reference(), end="")
    else:
        plan = workflow.plan_of([arguments.config])
        print(f"{arguments.config}: {len(plan.rows)} experiments, {len(plan.stages)} stages, no mistakes.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors that a user can act on are one message, without a traceback."""
    arguments = parser().parse_args(argv)
    try:
        if arguments.command == "plan":
            _plan(arguments.config, arguments.write)
        elif arguments.command == "config":
            _config(arguments)
        else:
            _run_stage(
                arguments.command, arguments.config, getattr(arguments, "shard", None), getattr(arguments, "gpus", None)
            )
    except UserError as error:
        print(f"palette {arguments.command}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"palette {arguments.command}: interrupted; the same command goes on.", file=sys.stderr)
        return Interrupted.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0
