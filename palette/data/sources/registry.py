"""Published datasets, in `registry.yaml` next to this file or a config, and published lists of test images."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from palette.config import Config
from palette.config.datasets import Fetch, KnownDataset


def _read(name: str) -> Any:
    return yaml.safe_load(Path(__file__).with_name(name).read_text(encoding="utf-8"))


@cache
def built_in() -> Mapping[str, KnownDataset]:
    return TypeAdapter(dict[str, KnownDataset]).validate_python(_read("registry.yaml"))


def registry(config: Config | None = None) -> dict[str, KnownDataset]:
    """Return name → facts of every published dataset; those of the config take precedence."""
    return {**built_in(), **(config.registry if config else {})}


def known(config: Config, fetch: Fetch) -> KnownDataset | None:
    """Return the published dataset that `fetch` names, with the `files` of `fetch` if given; None for other sources."""
    dataset = registry(config).get(fetch.source)
    return dataset.model_copy(update={"files": fetch.files}) if dataset and fetch.files else dataset


def missing_list(dataset: str, path: Path) -> str:
    """Return a message for a user who lacks a list of test images."""
    about = _read("lists.yaml").get(path.name, "the file names of the test images, one a line (`test_list`)")
    return f"dataset {dataset}: {path}\n    {about}"
