"""`reader: celeba`: faces, aligned and cropped, without classes."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from palette.config.datasets import DataFile, Split
from palette.data.sources.files import folder_of, obtain
from palette.data.sources.manifest import Entry
from palette.data.sources.members import files_in
from palette.data.sources.source import FetchStage, Listing, Source
from palette.data.sources.splits import read_flist
from palette.errors import DataError

PARTITION = {"0": "train", "2": "test"}
"""CelebA's partition numbers → split; 1 is for validation and not used."""
ARCHIVE, PARTS = "img_align_celeba.zip", "list_eval_partition.txt"
UNPACKED, TABLE = "img_align_celeba", "list_eval_partition.csv"
"""Their counterparts in Kaggle's copy: the images in `img_align_celeba/img_align_celeba`, the partition in a table."""


def needed(files: Sequence[DataFile], folder: Path) -> list[DataFile]:
    instead = {ARCHIVE: (folder / UNPACKED).is_dir(), PARTS: (folder / TABLE).is_file()}
    return [file for file in files if not instead.get(file.file)]


def trees(folder: Path) -> dict[Split | None, Path]:
    return {None: folder / UNPACKED} if (folder / UNPACKED).is_dir() else {}


def lists(folder: Path) -> list[Path]:
    return [folder / TABLE] if (folder / TABLE).is_file() else []


def list_celeba(stage: FetchStage) -> Listing:
    """List the aligned images, from their ZIP or unpacked, by the dataset's own splits."""
    known, folder = stage.spec.known, folder_of(stage.spec, stage.results)
    assert known is not None
    files = {file.file: obtain(file, folder, known.by_hand) for file in needed(known.files, folder)}
    parts = dict(_parts(files.get(PARTS, folder / TABLE)))
    place = files.get(ARCHIVE, folder / UNPACKED)
    return Listing("celeba", [place.resolve()], _aligned(files_in(place), parts))


def _parts(file: Path) -> Iterator[tuple[str, str]]:
    for line in read_flist(file):
        name, _, part = line.strip().partition("," if file.name == TABLE else " ")
        if line == "image_id,partition":
            continue
        if part not in ("0", "1", "2"):
            raise DataError(f"{file}: has the line {line!r}; expected a picture's name and 0, 1 or 2. Get it again.")
        yield name, part


def _aligned(found: Iterable[Entry], parts: dict[str, str]) -> Iterator[Entry]:
    places = dict[str, str]()
    for entry in found:
        name = Path(entry["file"]).name
        if name not in parts:
            yield {"file": entry["file"], "reason": "not in CelebA's list of parts"}
        elif (first := places.setdefault(name, entry["file"])) != entry["file"]:
            raise DataError(f"CelebA's picture {name} is there twice: {first} and {entry['file']}. Remove one of them.")
        elif parts[name] in PARTITION:
            yield {**entry, "class": "face", "split": PARTITION[parts[name]]}


SOURCE = Source(list_celeba, published=True, needed=needed, trees=trees, lists=lists)
