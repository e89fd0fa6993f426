"""Checks of datasets before anything runs: of their sources as the config names them, and of what a look at their files found."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from palette.config import Config
from palette.config.datasets import SOURCES, Dataset, Split
from palette.config_file import Problem, closest
from palette.data.pictures import FORMATS
from palette.data.registry import built_in, registry
from palette.data.sources.planned import Survey
from palette.data.sources.splits import like_splits


def sources_exist(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """The source of each dataset is a kind, or a published dataset. Reads the raw config, so that other mistakes hide none."""
    added, datasets = raw.get("registry"), raw.get("datasets")
    allowed = [*SOURCES, *built_in(), *(added if isinstance(added, Mapping) else ())]
    for name, dataset in datasets.items() if isinstance(datasets, Mapping) else ():
        fetch = dataset.get("fetch") if isinstance(dataset, Mapping) else None
        source = fetch.get("source") if isinstance(fetch, Mapping) else None
        if isinstance(source, str) and source not in allowed:
            text = f"no source or published dataset is called {source!r}.{closest(source, allowed)} They are: "
            yield Problem(("datasets", name, "fetch", "source"), f"{text}{', '.join(map(str, allowed))}.")


def sources_fit(config: Config) -> Iterator[Problem]:
    """A published dataset takes the options that it is given, and has a name of its own."""
    published = registry(config)
    for name in config.registry:
        if name in SOURCES:
            yield Problem(("registry", name), f"{name!r} is a kind of source. Choose another name.")
    for name, dataset in config.datasets.items():
        source = dataset.fetch.source
        if source in published and dataset.fetch.splits:
            text = f"dataset {source!r} has its own; `splits` goes with `source: folder` and `source: archive`."
            yield Problem(("datasets", name, "fetch", "splits"), text)


def too_few(config: Config, surveys: Mapping[str, Survey]) -> Iterator[Problem]:
    """A user's folder has as many pictures as are asked for, if all of them can be read; and so has each of its splits."""
    for name, dataset in config.datasets.items():
        fetch, prepare, survey = dataset.fetch, dataset.prepare, surveys[name]
        train, test, found = prepare.train_images, prepare.test_images, survey.pictures
        if fetch.source not in SOURCES or found is None:
            continue
        place, hint = fetch.path or "its lists", f" {survey.advice}" if survey.advice else ""
        if not found:
            supported = f" Supported: {' '.join(FORMATS)}."
            yield Problem(("datasets", name, "fetch", "path"), f"no pictures are in {place}.{hint or supported}")
        elif survey.splits:
            yield from _few_in_splits(name, dataset, survey.splits)
        elif found < test + (1 if train is None else train):
            text = (
                f"{found} pictures are in {place}, but {'some' if train is None else train} to train on and {test} "
                f"to test on are asked for. Lower `train_images` (null: all that remain) or `test_images`.{hint}"
            )
            yield Problem(("datasets", name, "prepare"), text)


def _few_in_splits(name: str, dataset: Dataset, found: Mapping[Split, int]) -> Iterator[Problem]:
    """found: of each split that the config names, its number of pictures."""
    prepare = dataset.prepare
    wanted = {"train": 1 if prepare.train_images is None else prepare.train_images, "test": prepare.test_images}
    for split, count in found.items():
        if count < wanted[split] and not (split == "test" and prepare.test_list):
            place, asked = dataset.fetch.splits[split], wanted[split]
            text = f"{count} pictures are in the split `{split}`, {place}, but {asked} are asked for. Lower `{split}_images`."
            yield Problem(("datasets", name, "prepare", f"{split}_images"), text)


def unsplit(config: Config, classes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Notes on datasets whose classes have the names of splits."""
    for name, dataset in config.datasets.items():
        if not dataset.fetch.splits and (hint := like_splits(classes.get(name, ()), dataset.fetch.source)):
            yield f"dataset {name}: {hint}"
