"""`palette import`: import of checkpoints and configs of the unofficial code, and of ADM's released networks."""

import argparse
from pathlib import Path

NAME = "import"
HELP = "take over a checkpoint or a JSON config of the unofficial code, or a network of ADM"
EXAMPLE = "python -m palette import experiments/train_faces/checkpoint/200 --config faces.json -o models/faces"

FILE = (
    "a checkpoint of Janspiry's Palette: its prefix (checkpoint/200, or 200.state) for everything that is there, or one "
    "file (200_Network.pth, 200_Network_ema.pth). Or a network of ADM (256x256_diffusion_uncond.pt). Or a JSON config"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help=FILE)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder to write the model to; of a JSON config, the YAML file"
    )
    parser.add_argument("--config", type=Path, metavar="JSON", help="the config that the checkpoint was trained with")
    parser.add_argument(
        "--task", metavar="TASK", help="what it was trained for (colorization, …), unless --config tells"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--ema", dest="which", action="store_const", const="ema", help="sample from the average (default)"
    )
    which.add_argument(
        "--raw", dest="which", action="store_const", const="raw", help="sample from the weights themselves"
    )
    parser.add_argument(
        "--head-channels",
        type=int,
        metavar="N",
        help="channels of an attention head, unless --config tells (default: 32; ADM: 64)",
    )
    parser.add_argument(
        "--image-size", type=int, metavar="N", help="side of its training images, unless --config tells (default: 256)"
    )
    parser.add_argument("--from", dest="origin", choices=("palette", "adm"), help="by default, its tensors' names tell")
    parser.add_argument("--verbose", action="store_true", help="name every tensor that was mapped or dropped")


def run(arguments: argparse.Namespace) -> None:
    """Import the model or config in FILE, and print a report."""
    from palette.interop.upstream_json import is_upstream_config

    if arguments.file.is_file() and is_upstream_config(arguments.file):
        _import_config(arguments)
    else:
        _import_model(arguments)


def _import_config(arguments: argparse.Namespace) -> None:
    from palette.errors import ConfigError
    from palette.interop.upstream_config import convert_file
    from palette.system.files import write_text

    output: Path = arguments.output
    for option in ("config", "task", "which", "head_channels", "image_size", "origin"):
        if getattr(arguments, option) is not None:
            raise ConfigError(f"{arguments.file}: a JSON config takes no option but --output.")
    if output.exists():
        raise ConfigError(f"{output}: is there already. Name another file (`-o`), or delete it.")
    result = convert_file(arguments.file, output.with_suffix(""), must_resume=False)
    write_text(output, result.text(arguments.file))
    print(f"{result.report()}\nwrote {output}\nTo train: python -m palette train -c {output}")


def _import_model(arguments: argparse.Namespace) -> None:
    from palette.config.tasks import DEGRADATIONS
    from palette.errors import ConfigError
    from palette.interop.adm_weights import import_adm, is_adm_file
    from palette.interop.model_folder import Flags, report, write_model
    from palette.interop.upstream_json import read_config
    from palette.interop.upstream_weights import import_upstream
    from palette.planning.config_file import closest

    if arguments.task not in (None, *DEGRADATIONS):
        choice = f"{closest(arguments.task, DEGRADATIONS)} Tasks: {', '.join(DEGRADATIONS)}."
        raise ConfigError(f"--task {arguments.task}: no such task.{choice}")
    for option, value in (("--head-channels", arguments.head_channels), ("--image-size", arguments.image_size)):
        if value is not None and value < 1:
            raise ConfigError(f"{option} {value}: must be 1 or more.")
    flags = Flags(arguments.task, arguments.head_channels, arguments.image_size, arguments.which)
    if arguments.origin == "adm" or (arguments.origin is None and is_adm_file(arguments.file)):
        if arguments.config or arguments.which:
            raise ConfigError("--config, --raw and --ema have no meaning for a network of ADM; leave them out.")
        model = import_adm(arguments.file, flags)
    else:
        config = read_config(arguments.config) if arguments.config else None
        model = import_upstream(arguments.file, flags, config)
    files = write_model(model, arguments.output)
    print(report(model, files, arguments.verbose))
