"""Dataset checks before any job starts: options, and the contents of files as far as a plan reads them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from palette.config import Config
from palette.config.datasets import Dataset, Prepare, Split
from palette.data.images.pictures import FORMATS
from palette.data.selection import read_names
from palette.data.sources.readers import OWN
from palette.data.sources.registry import built_in, registry
from palette.data.sources.source import Survey
from palette.data.sources.splits import like_splits
from palette.errors import DataError
from palette.planning.config_file import Problem, closest


def sources_exist(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Check that the source of each dataset is a kind of source or a published dataset.

    Reads the raw config, so that other mistakes hide none.
    """
    added, datasets = raw.get("registry"), raw.get("datasets")
    allowed = [*OWN, *built_in(), *(added if isinstance(added, Mapping) else ())]
    for name, dataset in datasets.items() if isinstance(datasets, Mapping) else ():
        fetch = dataset.get("fetch") if isinstance(dataset, Mapping) else None
        source = fetch.get("source") if isinstance(fetch, Mapping) else None
        if isinstance(source, str) and source not in allowed:
            text = f"no source or published dataset is called {source!r}.{closest(source, allowed)} They are: "
            yield Problem(("datasets", name, "fetch", "source"), f"{text}{', '.join(map(str, allowed))}.")


def sources_fit(config: Config) -> Iterator[Problem]:
    """Check that published datasets are given no `splits`, and that none is named like a kind of source."""
    published = registry(config)
    for name in config.registry:
        if name in OWN:
            yield Problem(("registry", name), f"{name!r} is a kind of source. Choose another name.")
    for name, dataset in config.datasets.items():
        source = dataset.fetch.source
        if source in published and dataset.fetch.splits:
            text = f"dataset {source!r} has its own; `splits` goes with `source: folder` and `source: archive`."
            yield Problem(("datasets", name, "fetch", "splits"), text)


def references_exist(config: Config) -> Iterator[Problem]:
    """Check that the reference of each dataset is defined."""
    for name, dataset in config.datasets.items():
        if dataset.reference is not None and dataset.reference not in config.datasets:
            text = f"no dataset is called {dataset.reference!r}.{closest(dataset.reference, config.datasets)}"
            yield Problem(("datasets", name, "reference"), text)


def crops_have_a_meaning(config: Config) -> Iterator[Problem]:
    """Check that the embedded photos and pairs, which are cropped in their own way, get no options without effect."""
    whole = {"photos": ("crop", "test_crop", "test_list", "train_images", "range"), "pairs": ("crop", "test_crop")}
    why = {
        "photos": "whose images are random squares of six photographs",
        "pairs": "which cuts the middle squares of both pictures, as they belong together",
    }
    for name, dataset in config.datasets.items():
        source, prepare = dataset.fetch.source, dataset.prepare
        for option in whole.get(source, ()):
            value, default = getattr(prepare, option), Prepare.model_fields[option].default
            if value != default if option != "train_images" else value is None:
                given = "null" if value is None else value
                text = f"{given} has no meaning with `source: {source}`, {why[source]}. Leave it out."
                yield Problem(("datasets", name, "prepare", option), text)


def lists_are_readable(config: Config) -> Iterator[Problem]:
    """Check that existing lists of test images have enough names."""
    for name, dataset in config.datasets.items():
        if dataset.prepare.test_list is not None and dataset.prepare.test_list.exists():  # else still to be supplied
            try:
                read_names(dataset.prepare.test_list, dataset.prepare.test_images)
            except DataError as error:
                yield Problem(("datasets", name, "prepare", "test_list"), str(error))


DATASET_CHECKS = (sources_fit, references_exist, crops_have_a_meaning, lists_are_readable)


def too_few(config: Config, surveys: Mapping[str, Survey]) -> Iterator[Problem]:
    """Check that a user's folder, or each of its splits, has as many images as requested.

    This assumes that all of them can be read.
    """
    for name, dataset in config.datasets.items():
        fetch, prepare, survey = dataset.fetch, dataset.prepare, surveys[name]
        train, test, found = prepare.train_images, prepare.test_images, survey.pictures
        if fetch.source not in OWN or found is None:
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
    """Yield a problem for each split that has too few images.

    found: split that the config names → its number of images.
    """
    prepare = dataset.prepare
    wanted = {"train": 1 if prepare.train_images is None else prepare.train_images, "test": prepare.test_images}
    for split, count in found.items():
        if count < wanted[split] and not (split == "test" and prepare.test_list):
            place, asked = dataset.fetch.splits[split], wanted[split]
            text = f"{count} pictures are in the split `{split}`, {place}, but {asked} are asked for. Lower `{split}_images`."
            yield Problem(("datasets", name, "prepare", f"{split}_images"), text)


def unsplit(config: Config, classes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield notes on datasets whose classes have the names of splits."""
    for name, dataset in config.datasets.items():
        if not dataset.fetch.splits and (hint := like_splits(classes.get(name, ()), dataset.fetch.source)):
            yield f"dataset {name}: {hint}"
