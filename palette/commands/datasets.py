"""`palette datasets`: known published datasets, which of their files exist, disk space and license."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palette.config.datasets import DataFile, KnownDataset

HELP = "list the published datasets: what is there, what is missing, disk space, license"
EXAMPLE = "python -m palette datasets imagenet --check"


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="which ones, in full; all of them in short if left out")
    folders = "a workflow config: its `registry`, and the folders that it names"
    add("-c", "--config", type=Path, metavar="FILE", help=folders)
    add("--check", action="store_true", help="read the files that are there and compare their checksums")


def run(arguments: argparse.Namespace) -> None:
    """Print the datasets, in detail if they are named. Downloads nothing."""
    from palette.data.sources.files import data_folder
    from palette.data.sources.registry import registry
    from palette.errors import ConfigError
    from palette.planning.checks import read_config
    from palette.planning.config_file import read_yaml, unknown

    config = read_config(read_yaml(arguments.config), [arguments.config]) if arguments.config else None
    known = registry(config)
    named = {d.fetch.source: d.fetch.path for d in config.datasets.values() if d.fetch.path} if config else {}
    for name in arguments.names:
        if name not in known:
            raise ConfigError(unknown("dataset", name, known, "Known: "))
    results = config.results if config else Path("results")
    for name in arguments.names or known:
        folder = named.get(name) or data_folder(results, name)
        if arguments.names:
            _describe(name, known[name], folder)
        else:
            print(_line(name, known[name], folder))
        if arguments.check:
            _check(known[name], folder)


def _images(dataset: "KnownDataset") -> str:
    return " + ".join(f"{dataset.images[split]:,}" for split in ("train", "test") if split in dataset.images)


def _disk(dataset: "KnownDataset") -> str:
    sizes = [file.bytes for file in dataset.files]
    known = sum(size for size in sizes if size)
    if not known:
        return "size not stated"
    return f"{'' if all(sizes) else '> '}{known / 1e9:.1f} GB"


def _here(file: "DataFile", dataset: "KnownDataset", folder: Path) -> str:
    """Return the state of a file: `there`, `wrong`, `missing` or `not needed`."""
    from palette.data.sources.files import other_size
    from palette.data.sources.planned import needed

    if (folder / file.file).is_file():
        return "wrong" if other_size(file, folder) else "there"
    return "missing" if file in needed(dataset, folder) else "not needed"


def _state(dataset: "KnownDataset", folder: Path) -> str:
    if not dataset.files:
        return "there" if folder.exists() else "by hand"
    needed = [state for file in dataset.files if (state := _here(file, dataset, folder)) != "not needed"]
    there, wrong = needed.count("there"), needed.count("wrong")
    if there == len(needed):
        return "there"
    counts = [f"{there} of {len(needed)} files there"] if there or wrong else []
    counts += [f"{wrong} wrong"] if wrong else []
    return ", ".join([*counts, "downloads itself" if all(file.urls for file in dataset.files) else "by hand"])


def _line(name: str, dataset: "KnownDataset", folder: Path) -> str:
    return f"{name:16} {_images(dataset):20} {_disk(dataset):16} {_state(dataset, folder):34} {dataset.license}"


def _describe(name: str, dataset: "KnownDataset", folder: Path) -> None:
    from palette.data.sources.files import other_size

    version = f", version {dataset.version}" if dataset.version else ""
    print(f"{name}: {dataset.title}{version}")
    print(f"  images     {_images(dataset)} (training + test), {dataset.classes} classes")
    print(f"  license    {dataset.license or 'not stated'}")
    print(f"  homepage   {dataset.homepage}")
    print(f"  read by    {dataset.reader}{f' ({dataset.torchvision})' if dataset.torchvision else ''}")
    print(f"  folder     {folder}: {_state(dataset, folder)}")
    if dataset.by_hand:
        print(f"  to get it  {dataset.by_hand}")
    for file in dataset.files:
        sums = f"sha256 {file.sha256}" if file.sha256 else f"md5 {file.md5}" if file.md5 else "no checksum is stated"
        size = f"{file.bytes:,} bytes, " if file.bytes else ""
        here, wrong = _here(file, dataset, folder), other_size(file, folder)
        print(f"  {here:10} {file.file}: {size}{sums}" + "".join(f"\n             {url}" for url in file.urls))
        if wrong:
            print(f"             it has {wrong}; delete it and get it again")
    print(dataset.citation.rstrip())


def _check(dataset: "KnownDataset", folder: Path) -> None:
    """Check the files that exist. Raises DataError for the first that is not the known one."""
    from palette.data.sources.files import verify

    for file in dataset.files:
        if (folder / file.file).is_file():
            verify(file, folder / file.file, again=True)
            print(f"  good       {folder / file.file}")
