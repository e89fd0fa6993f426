"""`palette info`: cost of a config's models, or description of a trained model."""

import argparse
from pathlib import Path

HELP = "say what a config's models cost, or what a trained model is"
EXAMPLE = "python -m palette info -c config.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    add, model = parser.add_argument, "a model: its folder, or a file in it, such as model.safetensors"
    add("model", type=Path, nargs="?", metavar="MODEL", help=model)
    add("-c", "--config", type=Path, metavar="FILE", help="a workflow config, instead of a model")
    add("--json", action="store_true", help="print JSON, with all digits")


def run(arguments: argparse.Namespace) -> None:
    """Print the facts. Runs nothing, and needs no GPU and no memory for the weights."""
    import json

    from palette.errors import ConfigError

    if (arguments.model is None) == (arguments.config is None):
        raise ConfigError("name one thing: a model, or a config with `-c FILE`.")
    if arguments.config is not None:
        from palette.costs import models

        facts, text = models.of_config(arguments.config), models.text
    else:
        from palette.model import description

        facts, text = description.describe(arguments.model), description.text
    print(json.dumps(facts, indent=2, ensure_ascii=False) if arguments.json else text(facts))
