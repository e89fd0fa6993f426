"""Registry of published datasets: those in `registry.yaml` next to this file, and those that a config adds."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from palette.config import Config
from palette.config.datasets import Fetch, KnownDataset

FILE = Path(__file__).with_suffix(".yaml")


@cache
def built_in() -> Mapping[str, KnownDataset]:
    """Return name → facts of the datasets in `registry.yaml`."""
    return TypeAdapter(dict[str, KnownDataset]).validate_python(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def registry(config: Config | None = None) -> dict[str, KnownDataset]:
    """Return name → facts of every published dataset; those of the config take precedence."""
    return {**built_in(), **(config.registry if config else {})}


def known(config: Config, fetch: Fetch) -> KnownDataset | None:
    """Return the published dataset that `fetch` names, with the `files` of `fetch` if given; None for other sources."""
    dataset = registry(config).get(fetch.source)
    return dataset.model_copy(update={"files": fetch.files}) if dataset and fetch.files else dataset
