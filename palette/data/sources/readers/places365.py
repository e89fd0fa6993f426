"""`reader: places365`: the archives of Places365-Standard, read in place, or the folders unpacked from them.

The training archive has a folder for each scene, `data_256/a/airfield`. The validation archive has no scenes: they come
from the dataset's lists, which also number the scenes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from palette.config.datasets import DataFile, Split
from palette.data.sources.files import folder_of, obtain
from palette.data.sources.manifest import Entry
from palette.data.sources.members import files_in, read_member
from palette.data.sources.source import FetchStage, Listing, Source
from palette.data.sources.splits import entry_of
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


def trees(folder: Path) -> dict[Split | None, Path]:
    """Return the unpacked archives in `folder`: split → folder of its images."""
    found = dict[Split | None, Path]()
    for split, names in UNPACKED.items():
        places = (*names, EASY[split], f"{EASY_ROOT}/{EASY[split]}")
        if (tree := next((folder / place for place in places if (folder / place).is_dir()), None)) is not None:
            found[split] = tree
    return found


def _is_easy(tree: Path) -> bool:
    return tree.name in EASY.values()


def lists(folder: Path) -> list[Path]:
    """Return the lists that replace their archive, if both exist."""
    files = [folder / name for name in (CATEGORIES, VALIDATION)]
    return files if all(file.is_file() for file in files) else []


def needed(files: Sequence[DataFile], folder: Path) -> list[DataFile]:
    """Return the files that nothing in `folder` replaces: none if both splits are in the easy format."""
    unpacked = trees(folder)
    listed = bool(lists(folder)) or (len(unpacked) == 2 and all(map(_is_easy, unpacked.values())))
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
    unpacked, containers, entries = trees(folder), list[Path](), list[Iterator[Entry]]()
    for split in EASY:
        path = archives.get(split) or unpacked[split]
        containers.append(path.resolve())
        found = files_in(path)
        if split not in archives and _is_easy(path):
            entries.append(_by_folder(found, split))
        elif split == "train":
            entries.append(_train(found, set(scenes), split not in archives))
        else:
            entries.append(_test(found, scenes, truth))
    numbered = ({**entry, "container": number} for number, some in enumerate(entries) for entry in some)
    return Listing("places2", containers, numbered, {"classes": scenes} if listed else {}, sum(known.images.values()))


def _list(folder: Path, archive: Path | None, name: str) -> list[str]:
    """Return the lines of a list, from the archive of lists or from its own file.

    Raises DataError for an invalid one.
    """
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


def _by_folder(found: Iterable[Entry], split: Split) -> Iterator[Entry]:
    """Yield the files of the easy format.

    No scene of Places365 has a `-` in its name, so it can only stand for a `/`.
    """
    for entry in found:
        folder, _, _ = entry["file"].rpartition("/")
        named = entry_of(entry["file"], split, entry["file"], "")
        yield {**named, "class": folder.replace("-", "/")} if named.get("class") else _outside(entry)


def _outside(entry: Entry) -> Entry:
    return {"file": entry["file"], "reason": "not in the folder of a scene"}


def _train(found: Iterable[Entry], scenes: set[str], unpacked: bool) -> Iterator[Entry]:
    for entry in found:
        scene = "/".join(entry["file"].split("/")[1 if unpacked else 2 : -1])
        if scene in scenes:
            yield {**entry, "class": scene, "split": "train"}
        else:
            yield _outside(entry)


def _test(found: Iterable[Entry], scenes: list[str], truth: Mapping[str, int]) -> Iterator[Entry]:
    for entry in found:
        number = truth.get(Path(entry["file"]).name, len(scenes))
        if number < len(scenes):
            yield {**entry, "class": scenes[number], "split": "test"}
        else:
            yield {"file": entry["file"], "reason": f"not in {VALIDATION}"}


SOURCE = Source(list_places, published=True, needed=needed, trees=trees, lists=lists)
