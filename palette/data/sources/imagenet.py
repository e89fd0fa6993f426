"""`source: imagenet`: the archives that ImageNet gives to those who sign its terms, read as they are; or folders made from them.

The training archive is a tar of one tar a class. The validation archive has no classes: they come from the development kit, or from
a list of WordNet IDs, one a line, in the order of the images. An unpacked archive is a folder `train` or `val` of a folder for
each class.
"""

import io
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from palette.config.datasets import DataFile, Split
from palette.data.archives import members, read_member, tar_members
from palette.data.folders import walk
from palette.data.manifest import Entry
from palette.data.sources.files import folder_of, obtain
from palette.data.sources.folders import entry_of
from palette.data.sources.listing import Listing
from palette.data.sources.splits import read_flist
from palette.errors import DataError
from palette.spec.stages import FetchSpec
from palette.stage import Stage

FOLDERS: Mapping[Split, str] = {"train": "train", "test": "val"}
"""Split → the folder of an unpacked archive."""
LABELS = ("imagenet_2012_validation_synset_labels.txt", "ILSVRC2012_validation_synset_labels.txt")
"""Names under which the list of the validation images' WordNet IDs is known."""
KIT = "ILSVRC2012_devkit_t12/data"
WORDNET = re.compile(r"n\d{8}")


def needed(files: tuple[DataFile, ...], folder: Path) -> list[DataFile]:
    """The files that nothing in `folder` stands in for."""
    labels = any((folder / name).is_file() for name in LABELS)
    unpacked = {split for split, name in FOLDERS.items() if (folder / name).is_dir()}
    return [
        file
        for file in files
        if file.split not in unpacked and not (file.split is None and (labels or "test" in unpacked))
    ]


def list_imagenet(stage: Stage[FetchSpec]) -> Listing:
    """Training images are those of the training set, test images those of the validation set; classes are WordNet IDs."""
    known, folder = stage.spec.known, folder_of(stage.spec, stage.results)
    assert known is not None
    asked = {file.split: obtain(file, folder, known.by_hand) for file in needed(known.files, folder)}
    containers = [asked.get(split, folder / name) for split, name in FOLDERS.items()]
    entries = {
        "train": _train(containers[0]) if "train" in asked else _unpacked(containers[0], "train"),
        "test": _validation(containers[1], _labels(folder, asked))
        if "test" in asked
        else _unpacked(containers[1], "test"),
    }
    numbered = ({**e, "container": number} for number, split in enumerate(FOLDERS) for e in entries[split])
    return Listing("imagenet", [path.resolve() for path in containers], numbered, total=sum(known.images.values()))


def _train(archive: Path) -> Iterator[Entry]:
    """A tar of tars, `n01440764.tar` and so on: a picture lies inside the inner one, which lies inside the outer one."""
    for inner in tar_members(archive):
        name = Path(inner["file"]).stem
        if not WORDNET.fullmatch(name) or "reason" in inner:
            raise DataError(
                f"{archive}: contains {inner['file']!r}, which is no class of ImageNet. Get the archive again."
            )
        for entry in tar_members(archive, inner["offset"], inner["offset"] + inner["bytes"]):
            yield {**entry, "file": f"{name}/{entry['file']}", "class": name, "split": "train"}


def _validation(archive: Path, labels: list[str]) -> Iterator[Entry]:
    """`ILSVRC2012_val_00000001.JPEG` and so on; the number is the line of the labels."""
    for entry in members(archive):
        number = re.search(r"(\d{8})\.JPEG$", entry["file"])
        if number is None or not 0 < int(number[1]) <= len(labels):
            yield {"file": entry["file"], "reason": f"no validation image by its name; there are {len(labels)} labels"}
        else:
            yield {**entry, "class": labels[int(number[1]) - 1], "split": "test"}


def _unpacked(folder: Path, split: str) -> Iterator[Entry]:
    for file in walk(folder):
        entry = entry_of(file, split, file, folder.name)
        if "class" in entry and not WORDNET.fullmatch(entry["class"]):
            entry = {"file": file, "reason": "not in a folder that is named by a WordNet ID"}
        yield entry


def _labels(folder: Path, asked: dict[Any, Path]) -> list[str]:
    """The WordNet ID of each validation image."""
    if None in asked:
        return kit_labels(asked[None])
    file = next(folder / name for name in LABELS if (folder / name).is_file())
    labels = [line.strip() for line in read_flist(file)]
    wrong = next((label for label in labels if not WORDNET.fullmatch(label)), None)
    if wrong is not None:
        raise DataError(f"{file}: {wrong!r} is no WordNet ID. It needs one for each validation image, one a line.")
    return labels


def kit_labels(kit: Path) -> list[str]:
    """The WordNet ID of each validation image by the development kit: its ground truth numbers the synsets of `meta.mat`."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    parts = [read_member(kit, f"{KIT}/{name}") for name in ("meta.mat", "ILSVRC2012_validation_ground_truth.txt")]
    if parts[0] is None or parts[1] is None:
        raise DataError(f"{kit}: has no {KIT}/meta.mat and ground truth; not the development kit of ILSVRC 2012.")
    try:
        synsets = loadmat(io.BytesIO(parts[0]), squeeze_me=True)["synsets"]  # type: ignore[arg-type]  # files are taken too
        names = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets}
        return [names[int(line)] for line in parts[1].split()]
    except (MatReadError, OSError, LookupError, ValueError, TypeError, NotImplementedError, zlib.error) as error:
        raise DataError(f"{kit}: its {KIT}/meta.mat is not what it should be ({error}).") from None
