"""`python -m palette <command>`: one command per verb, each running one stage from its spec, and the other commands.

Only the standard library is imported until a command is known, so that help appears at once.
"""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from palette import __version__
from palette.errors import ConfigError, DataError, Interrupted, UserError, out_of_memory
from palette.stages.listing import Verb, verbs
from palette.system.progress import print_any_text

FOREIGN_COMMANDS = {
    "test": "`palette import` turns a JSON file into a config, and `snakemake --configfile FILE` samples and scores its test images; "
    "`palette restore` takes your own photographs",
    "eval": "`snakemake` scores what it samples, and with `external_outputs` in the config the images of another program (docs/tables.md)",
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


def _add_verb(commands: "argparse._SubParsersAction[_Parser]", name: str, verb: Verb) -> None:
    short = (verb.help[0].lower() + verb.help[1:]).removesuffix(".")
    sub = commands.add_parser(name, help=short, description=verb.help, epilog=f"example: {verb.example}")
    files = "spec.yaml of the stage; `snakemake` writes them"
    if name == "train":
        files += ". Or a workflow config, or a JSON config of the unofficial code"
        sub.add_argument("--experiment", metavar="NAME", help="which one of a config's experiments")
        sub.add_argument("--gpus", type=int, metavar="N", help="take at most N of the GPUs that the spec asks for")
    if verb.scattered:
        text = "which shard of a scattered stage, from 0; all of them if left out"
        sub.add_argument("--shard", type=int, metavar="N", help=text)
    metavar = "FILE" if name == "train" else "SPEC"
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
    for name, verb in verbs().items():
        _add_verb(commands, name, verb)
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
    from palette.system import jobs
    from palette.system.gpu_lease import lease

    stage = Stage.read(file)
    spec = stage.spec
    if spec.verb != verb:
        raise ConfigError(f"{file}: this is a {spec.kind} stage; run `python -m palette {spec.verb} -c {file}`.")
    if spec.engine and spec.engine != fingerprint(f"palette.stages.{spec.kind}"):
        raise ConfigError(
            f"{file}: this spec was made by a different version of the code; run `snakemake` to plan again."
        )
    count = len(spec.shards)
    if count and shard is not None and not 0 <= shard < count:
        raise ConfigError(f"--shard {shard}: {file} has {count} shards, 0 to {count - 1}.")
    shards: Sequence[int | None] = [None]
    if count:
        shards = range(count) if shard is None else [shard]
    os.environ.setdefault("OMP_NUM_THREADS", str(spec.runtime.threads))
    with lease(spec.runtime.gpus if gpus is None else min(gpus, spec.runtime.gpus)):
        if "LOCAL_RANK" in os.environ and not count:  # one of several processes of a training, which is one job
            stage.run()
            return
        for number in shards:
            with jobs.under_way(jobs.place(stage.results, spec.folder, number)):
                stage.run(*([] if number is None else [number]))


def _run(arguments: argparse.Namespace) -> None:
    if "run" in arguments:
        arguments.run(arguments)
    elif arguments.command == "train" and arguments.config.name != "spec.yaml":
        from palette.running import train_from

        train_from.run(arguments.config, arguments.experiment, arguments.gpus)
    else:
        shard, gpus = getattr(arguments, "shard", None), getattr(arguments, "gpus", None)
        _run_stage(arguments.command, arguments.config, shard, gpus)


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
        further = "; the same command goes on" if arguments.command in verbs() else ""
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
