"""`source: places2`: the archives of Places365-Standard, read as they are, or the folders that they unpack to.

The training archive has a folder for each scene, `data_256/a/airfield`. The validation archive has no scenes: they come from the lists
of the dataset, which also number the scenes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from palette.config.datasets import DataFile
from palette.data.archives import members, read_member
from palette.data.folders import walk
from palette.data.manifest import Entry
from palette.data.sources.files import folder_of, obtain
from palette.data.sources.listing import Listing
from palette.errors import DataError
from palette.spec.stages import FetchSpec
from palette.stage import Stage

CATEGORIES, VALIDATION = "categories_places365.txt", "places365_val.txt"
UNPACKED = {
    "train": ("data_256_standard", "data_256", "data_large_standard", "data_large"),
    "test": ("val_256", "val_large"),
}
"""Split → names of the unpacked archive, as it unpacks and as torchvision renames it."""


def needed(files: tuple[DataFile, ...], folder: Path) -> list[DataFile]:
    """The files that nothing in `folder` stands in for."""
    lists = all((folder / name).is_file() for name in (CATEGORIES, VALIDATION))
    return [file for file in files if not (lists if file.split is None else _unpacked(folder, file.split))]


def _unpacked(folder: Path, split: str) -> Path | None:
    return next((folder / name for name in UNPACKED[split] if (folder / name).is_dir()), None)


def list_places(stage: Stage[FetchSpec]) -> Listing:
    """Training images are those of the training set, test images those of the validation set, as the paper takes them."""
    known, folder = stage.spec.known, folder_of(stage.spec, stage.results)
    assert known is not None
    asked = {file.split: obtain(file, folder, known.by_hand) for file in needed(known.files, folder)}
    scenes = _scenes(_list(folder, asked.get(None), CATEGORIES))
    truth = dict(_pairs(_list(folder, asked.get(None), VALIDATION)))
    containers, entries = list[Path](), list[Iterator[Entry]]()
    for split in ("train", "test"):
        path = asked.get(split) or _unpacked(folder, split) or folder
        containers.append(path.resolve())
        found = members(path) if split in asked else ({"file": file} for file in walk(path))
        entries.append(
            _train(found, set(scenes), split not in asked) if split == "train" else _test(found, scenes, truth)
        )
    numbered = ({**entry, "container": number} for number, some in enumerate(entries) for entry in some)
    return Listing("places2", containers, numbered, {"classes": scenes}, sum(known.images.values()))


def _list(folder: Path, archive: Path | None, name: str) -> list[str]:
    """The lines of a list: from the archive of lists, or as a file."""
    data = read_member(archive, name) if archive else (folder / name).read_bytes()
    if data is None:
        raise DataError(f"{archive}: has no {name}; not the lists of Places365.")
    try:
        return data.decode().splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{archive or folder / name}: {name} is not a text in UTF-8.") from None


def _pairs(lines: list[str]) -> Iterator[tuple[str, int]]:
    for line in lines:
        name, _, number = line.rpartition(" ")
        if not name or not number.isdigit():
            raise DataError(
                f"a list of Places365 has the line {line!r}; expected a name and a number. Get the lists again."
            )
        yield name, int(number)


def _scenes(lines: list[str]) -> list[str]:
    """The scenes in the order of their numbers: `/a/apartment_building/outdoor 8` is `apartment_building/outdoor`."""
    return [name.lstrip("/")[2:] for name, _ in sorted(_pairs(lines), key=lambda pair: pair[1])]


def _train(found: Iterator[Entry], scenes: set[str], unpacked: bool) -> Iterator[Entry]:
    for entry in found:
        scene = "/".join(entry["file"].split("/")[1 if unpacked else 2 : -1])
        if scene in scenes:
            yield {**entry, "class": scene, "split": "train"}
        else:
            yield {"file": entry["file"], "reason": "not in the folder of a scene"}


def _test(found: Iterator[Entry], scenes: list[str], truth: Mapping[str, int]) -> Iterator[Entry]:
    for entry in found:
        number = truth.get(Path(entry["file"]).name, len(scenes))
        if number < len(scenes):
            yield {**entry, "class": scenes[number], "split": "test"}
        else:
            yield {"file": entry["file"], "reason": f"not in {VALIDATION}"}
