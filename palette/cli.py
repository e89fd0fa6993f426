"""`python -m palette <command>`: one command per verb, each running one stage from its spec, and the other commands.

Only the standard library is imported until a command is known, so that help appears at once.
"""

import argparse
import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from palette import __version__
from palette.errors import ConfigError, DataError, Interrupted, UserError, out_of_memory

if TYPE_CHECKING:
    from palette.stages.stage import Stage

VERBS = {
    "fetch": "get a dataset's original images and record where they came from",
    "prepare": "make square images of one size: a training and a test store",
    "mask": "draw the evaluation masks, one per test image",
    "train": "train a model, or go on where an interrupted training stopped",
    "sample": "restore the degraded test images with a trained model",
    "score": "train or check the feature network, extract features, compute scores",
    "tabulate": "make a table: CSV, Markdown, LaTeX, HTML",
    "report": "draw the figures and the page that shows everything",
}
EXAMPLES = {
    "train": "python -m palette train -c config.yaml --experiment photos-colorization-palette-sde20-s0",
    "sample": "python -m palette sample -c results/sample/photos-jpeg-palette-sde20-s0-1a2b3c4d5e/spec.yaml --shard 0",
    "score": "python -m palette score -c results/score/photos-jpeg-palette-sde20-s0-1a2b3c4d5e/spec.yaml",
    "tabulate": "python -m palette tabulate -c results/tabulate/photos/spec.yaml",
    "report": "python -m palette report -c results/report/spec.yaml",
}
FOREIGN_COMMANDS = {
    "test": "`palette import` turns a JSON file into a config, and `snakemake --configfile FILE` samples and scores its test images; "
    "`palette restore` takes your own photographs",
    "eval": "`snakemake` scores what it samples, and with `folders` in the config the images of another program (docs/tables.md)",
}
FOREIGN_OPTIONS = {
    "-p": "the command names the phase: `palette train`",
    "-b": "set `train.batch_size` in a config, or `batch_size` in the JSON",
    **dict.fromkeys(("-gpu", "--gpu"), "`--gpus N` takes N of the GPUs; CUDA_VISIBLE_DEVICES says which"),
    "-chk": "set `path.resume_state` in the JSON, or `train.start_from` in a config",
    "-d": "for a short trial, set a small `train.steps`",
    "-P": "processes find a free port themselves; leave it out",
}
"""Option of the unofficial code or its fork → its replacement here."""
FULL = "Free some space (`python -m palette gc` shows what may go) and run the same command again."
CLOSED = "Let this user write there, or name another folder."
LESS = "This does not fit into memory. To sample, lower `sample.batch_size`; to train, raise `accumulate` or set `recompute: true`."
LIMITED = "Raise the limit (`ulimit -f`), or name a folder on a file system that takes larger files."
WAYS_OUT = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: LIMITED,
    errno.EROFS: CLOSED,
    errno.EACCES: CLOSED,
    errno.EPERM: CLOSED,
    errno.ENAMETOOLONG: "Choose a shorter path.",
}
"""Error number when a file cannot be written or read → what to do."""


class _Parser(argparse.ArgumentParser):
    """Parser that accepts no abbreviations: `--gpu 0` is not `--gpus 0`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)


def _add_verb(commands: "argparse._SubParsersAction[_Parser]", verb: str, text: str) -> None:
    example = EXAMPLES.get(verb, f"python -m palette {verb} -c results/{verb}/photos-1a2b3c4d5e/spec.yaml")
    sub = commands.add_parser(verb, help=text, description=text.capitalize() + ".", epilog=f"example: {example}")
    files = "spec.yaml of the stage; `snakemake` writes them"
    if verb == "train":
        files += ". Or a workflow config, or a JSON config of the unofficial code"
        sub.add_argument("--experiment", metavar="NAME", help="which one of a config's experiments")
        sub.add_argument("--gpus", type=int, metavar="N", help="take at most N of the GPUs that the spec asks for")
    if verb in ("sample", "score"):
        text = "which shard of a scattered stage, from 0; all of them if left out"
        sub.add_argument("--shard", type=int, metavar="N", help=text)
    metavar = "FILE" if verb == "train" else "SPEC"
    sub.add_argument("-c", "--config", type=Path, required=True, metavar=metavar, help=files)


def other_commands() -> dict[str, ModuleType]:
    """Return the commands that run no stage: each module of `palette/commands`, by its `NAME` or file name."""
    files = sorted((Path(__file__).parent / "commands").glob("[!_]*.py"))
    modules = [import_module(f"palette.commands.{file.stem}") for file in files]
    return {getattr(module, "NAME", module.__name__.rpartition(".")[2]): module for module in modules}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = _Parser(
        prog="python -m palette",
        description="Palette: image-to-image diffusion models. Each verb runs one stage; `snakemake` runs them all.",
        epilog="Exit codes: 0 done, 1 `compare` found something worse, 2 config or usage, 3 data, "
        "75 interrupted (run a verb again to resume it).",
    )
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", metavar="command", required=True)
    for verb, text in VERBS.items():
        _add_verb(commands, verb, text)
    for name, command in other_commands().items():
        description = command.HELP[0].upper() + command.HELP[1:] + "."
        sub = commands.add_parser(
            name, help=command.HELP, description=description, epilog=f"example: {command.EXAMPLE}"
        )
        sub.set_defaults(run=command.run)
        command.arguments(sub)
    return top


def _foreign(given: Sequence[str]) -> str:
    """Return a hint for a command or options of the unofficial code; empty if there are none."""
    command = next(iter(given[1:] if given[:1] == ["-p"] else given), "")
    if command in FOREIGN_COMMANDS:
        return f"{command}: a command of the unofficial code. Here, {FOREIGN_COMMANDS[command]}."
    words = [word.partition("=")[0] for word in given] if command == "train" else []
    options = [word for word in words if word in FOREIGN_OPTIONS]
    return "".join(f"\n  {name}: an option of the unofficial code. Here, {FOREIGN_OPTIONS[name]}." for name in options)


def _run_stage(verb: str, file: Path, shard: int | None, gpus: int | None) -> None:
    from palette.stages.fingerprint import fingerprint
    from palette.stages.stage import Stage
    from palette.system.gpu_lease import lease

    stage = Stage.read(file)
    spec = stage.spec
    if spec.verb != verb:
        raise ConfigError(f"{file}: this is a {spec.kind} stage; run `python -m palette {spec.verb} -c {file}`.")
    if spec.engine and spec.engine != fingerprint(f"palette.stages.{spec.kind}"):
        raise ConfigError(
            f"{file}: this spec was made by a different version of the code; run `snakemake` to plan again."
        )
    os.environ.setdefault("OMP_NUM_THREADS", str(spec.runtime.threads))
    with lease(spec.runtime.gpus if gpus is None else min(gpus, spec.runtime.gpus)):
        _compute(stage, file, shard)


def _compute(stage: "Stage[Any]", file: Path, shard: int | None) -> None:
    from palette.system import jobs

    spec = stage.spec
    if not spec.shards:
        if "LOCAL_RANK" in os.environ:  # one of several processes of a training, which is one job
            stage.run()
            return
        with jobs.under_way(jobs.place(stage.results, spec.folder)):
            stage.run()
        return
    count = len(spec.shards)
    if shard is not None and not 0 <= shard < count:
        raise ConfigError(f"--shard {shard}: {file} has {count} shards, 0 to {count - 1}.")
    for number in [shard] if shard is not None else range(count):
        with jobs.under_way(jobs.place(stage.results, spec.folder, number)):
            stage.run(number)


def _run(arguments: argparse.Namespace) -> None:
    if "run" in arguments:
        arguments.run(arguments)
    elif arguments.command == "train" and arguments.config.name != "spec.yaml":
        from palette.running import train_from

        train_from.run(arguments.config, arguments.experiment, arguments.gpus)
    else:
        shard, gpus = getattr(arguments, "shard", None), getattr(arguments, "gpus", None)
        _run_stage(arguments.command, arguments.config, shard, gpus)


def print_any_text() -> None:
    """Keep the locale from stopping a message: UTF-8 for files and pipes; on a terminal, escapes where needed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Errors that a user can act on are printed as one message, without a traceback.
    """
    print_any_text()
    given, top = sys.argv[1:] if argv is None else argv, parser()
    if hint := _foreign(given):
        top.error(hint)
    arguments = top.parse_args(given)
    try:
        _run(arguments)
    except UserError as error:
        print(f"palette {arguments.command}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        further = "; the same command goes on" if arguments.command in VERBS else ""
        print(f"palette {arguments.command}: interrupted{further}.", file=sys.stderr)
        return Interrupted.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        print(f"palette {arguments.command}: {str(error).partition(chr(10))[0]} {LESS}", file=sys.stderr)
        return DataError.exit_code
    except OSError as error:
        if error.errno not in WAYS_OUT:
            raise
        place = error.filename or "a file"
        print(f"palette {arguments.command}: {place}: {error.strerror}. {WAYS_OUT[error.errno]}", file=sys.stderr)
        return DataError.exit_code
    return 0
