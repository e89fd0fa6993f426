"""`reader: places365`: the archives of Places365-Standard, read in place, or the folders unpacked from them.

The training archive has a folder for each scene, `data_256/a/airfield`. The validation archive has no scenes: they come
from the dataset's lists, which also number the scenes.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from palette.config.datasets import DataFile, Split
from palette.data.images.pictures import FORMATS
from palette.data.sources.files import folder_of, obtain
from palette.data.sources.manifest import Entry
from palette.data.sources.members import files_in, read_member
from palette.data.sources.source import FetchStage, Listing, Source
from palette.data.sources.splits import labeled
from palette.errors import DataError

CATEGORIES, VALIDATION = "categories_places365.txt", "places365_val.txt"
UNPACKED: Mapping[Split, tuple[str, ...]] = {
    "train": ("data_256_standard", "data_256", "data_large_standard", "data_large"),
    "test": ("val_256", "val_large"),
}
"""Split → names of the unpacked archive, as it unpacks and as torchvision renames it."""
EASY: Mapping[Split, str] = {"train": "train", "test": "val"}
"""Split → its folder in the dataset's "easy" format, where both have a folder for each scene:
`train/apartment_building-outdoor`."""
EASY_ROOT = "places365_standard"
OUTSIDE = "not in the folder of a scene"


def trees(folder: Path) -> dict[Split | None, Path]:
    """Return the unpacked archives in `folder`: split → folder of its images."""
    found = dict[Split | None, Path]()
    for split, names in UNPACKED.items():
        places = (*names, EASY[split], f"{EASY_ROOT}/{EASY[split]}")
        if (tree := next((folder / place for place in places if (folder / place).is_dir()), None)) is not None:
            found[split] = tree
    return found


def lists(folder: Path) -> list[Path]:
    """Return the lists that replace their archive, if both exist."""
    files = [folder / name for name in (CATEGORIES, VALIDATION)]
    return files if all(file.is_file() for file in files) else []


def needed(files: Sequence[DataFile], folder: Path) -> list[DataFile]:
    """Return the files that nothing in `folder` replaces: none if both splits are in the easy format."""
    unpacked = trees(folder)
    listed = bool(lists(folder)) or (
        len(unpacked) == 2 and all(tree.name in EASY.values() for tree in unpacked.values())
    )
    return [file for file in files if not (listed if file.split is None else file.split in unpacked)]


def list_places(stage: FetchStage) -> Listing:
    """List the training set for training and the validation set for testing, as in the paper."""
    known, folder = stage.spec.known, folder_of(stage.spec, stage.results)
    assert known is not None
    archives = {file.split: obtain(file, folder, known.by_hand) for file in needed(known.files, folder)}
    packed = archives.get(None)
    listed = packed is not None or bool(lists(folder))
    scenes = _scenes(_list(folder, packed, CATEGORIES)) if listed else []
    truth = dict(_pairs(_list(folder, packed, VALIDATION))) if listed else {}
    names = {name: scenes[number] for name, number in truth.items() if number < len(scenes)}
    unpacked, containers, entries = trees(folder), list[Path](), list[Iterator[Entry]]()
    for split in EASY:
        path = archives.get(split) or unpacked[split]
        containers.append(path.resolve())
        if split not in archives and path.name in EASY.values():
            entries.append(labeled(files_in(path), split, _easy_scene, OUTSIDE))
        elif split == "train":
            root = 1 if split not in archives else 2  # folders above the scene: `a`, or `data_256/a`
            entries.append(labeled(files_in(path), split, partial(_scene_below, root, set(scenes)), OUTSIDE))
        else:
            entries.append(
                labeled(files_in(path), split, lambda file: names.get(Path(file).name), f"not in {VALIDATION}")
            )
    numbered = ({**entry, "container": number} for number, files in enumerate(entries) for entry in files)
    return Listing("places2", containers, numbered, {"classes": scenes} if listed else {}, sum(known.images.values()))


def _easy_scene(file: str) -> str | None:
    """Return the scene of a file in the easy format. No scene has a `-` in its name: it can only stand for a `/`."""
    return file.rpartition("/")[0].replace("-", "/") if file.lower().endswith(FORMATS) else None


def _scene_below(root: int, scenes: set[str], file: str) -> str | None:
    scene = "/".join(file.split("/")[root:-1])
    return scene if scene in scenes else None


def _list(folder: Path, archive: Path | None, name: str) -> list[str]:
    """Return the lines of a list, from the archive of lists or from its own file."""
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
    """Return the scenes by number: `/a/apartment_building/outdoor 8` is `apartment_building/outdoor`."""
    return [name.lstrip("/")[2:] for name, _ in sorted(_pairs(lines), key=lambda pair: pair[1])]


SOURCE = Source(list_places, published=True, needed=needed, trees=trees, lists=lists)
