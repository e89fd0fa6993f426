"""`source: imagenet`: ImageNet's official archives, read in place, or folders unpacked from them.

The training archive is a tar with one tar per class. The validation archive has no classes: they come from the
development kit, from a list of WordNet IDs, one per line in the order of the images, or from Kaggle's
`LOC_val_solution.csv`. An unpacked archive is a folder `train` with one folder per class, or a folder `val`, with such
folders or flat like the archive.
"""

import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from palette.config.datasets import DataFile, Split
from palette.data.sources.files import folder_of, obtain
from palette.data.sources.manifest import Entry
from palette.data.sources.members import files_in, read_member, tar_members
from palette.data.sources.source import FetchStage, Listing, Source
from palette.data.sources.splits import entry_of, labeled, read_flist
from palette.data.sources.walk import walk
from palette.errors import DataError

FOLDERS: Mapping[Split, str] = {"train": "train", "test": "val"}
"""Split → the folder of an unpacked archive."""
KAGGLE = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC")
"""Their parent folder in Kaggle's copy, seen from its root or from a folder inside it."""
LABELS = ("imagenet_2012_validation_synset_labels.txt", "ILSVRC2012_validation_synset_labels.txt")
"""Known names of the list of the validation images' WordNet IDs."""
SOLUTION = "LOC_val_solution.csv"
"""Kaggle's name for that list, whose lines `ILSVRC2012_val_00000001,n01751748 111 108 428 366` etc. are unordered."""
KIT = "ILSVRC2012_devkit_t12/data"
WORDNET = re.compile(r"n\d{8}")


def trees(folder: Path) -> dict[Split | None, Path]:
    """Return the unpacked archives in `folder`, including Kaggle's copy: split → folder of its images."""
    root = _root(folder)
    return {split: root / name for split, name in FOLDERS.items() if (root / name).is_dir()}


def _root(folder: Path) -> Path:
    places = (folder, *(folder / place for place in KAGGLE))
    return next((place for place in places if any((place / name).is_dir() for name in FOLDERS.values())), folder)


def lists(folder: Path) -> list[Path]:
    """Return the list of the validation images' classes, if it is in `folder` or at the root of Kaggle's copy."""
    root = _root(folder)
    above = root.parents[:3] if root.name == "CLS-LOC" else ()
    places = dict.fromkeys((folder, root, *above))
    files = [place / name for place in places for name in (*LABELS, SOLUTION)]
    return [file for file in files if file.is_file()][:1]


def _has_classes(tree: Path) -> bool:
    """Return whether `tree` has class folders. The validation folders of ImageNet and Kaggle have none."""
    return any(WORDNET.fullmatch(path.name) and path.is_dir() for path in tree.iterdir())


def needed(files: Sequence[DataFile], folder: Path) -> list[DataFile]:
    unpacked = trees(folder)
    labeled = bool(lists(folder)) or ("test" in unpacked and _has_classes(unpacked["test"]))
    return [file for file in files if not (labeled if file.split is None else file.split in unpacked)]


def list_imagenet(stage: FetchStage) -> Listing:
    """List the training set for training and the validation set for testing; classes are WordNet IDs."""
    known, folder = stage.spec.known, folder_of(stage.spec, stage.results)
    assert known is not None
    archives = {file.split: obtain(file, folder, known.by_hand) for file in needed(known.files, folder)}
    unpacked = trees(folder)
    containers = [archives.get(split) or unpacked[split] for split in FOLDERS]
    train = _train(containers[0]) if "train" in archives else _by_folder(containers[0], "train")
    if "test" not in archives and _has_classes(containers[1]):
        test = _by_folder(containers[1], "test")
    else:
        labels = _labels(folder, archives, known.images.get("test", 0))
        reason = f"no validation image by its name; there are {len(labels)} labels"
        test = labeled(files_in(containers[1]), "test", partial(_validation_label, labels), reason)
    entries = ({**entry, "container": number} for number, split in enumerate((train, test)) for entry in split)
    return Listing("imagenet", [path.resolve() for path in containers], entries, total=sum(known.images.values()))


def _train(archive: Path) -> Iterator[Entry]:
    """Yield the images of a tar of tars, `n01440764.tar` and so on, without unpacking the inner ones."""
    for member in tar_members(archive):
        name = Path(member["file"]).stem
        if not WORDNET.fullmatch(name) or "reason" in member:
            raise DataError(
                f"{archive}: contains {member['file']!r}, which is no class of ImageNet. Get the archive again."
            )
        for entry in tar_members(archive, member["offset"], member["offset"] + member["bytes"]):
            yield {**entry, "file": f"{name}/{entry['file']}", "class": name, "split": "train"}


def _validation_label(labels: Mapping[int, str], file: str) -> str | None:
    """Return the label of `ILSVRC2012_val_00000001.JPEG` by the number in its name."""
    number = re.search(r"(\d{8})\.JPEG$", file)
    return labels.get(int(number[1])) if number else None


def _by_folder(tree: Path, split: Split) -> Iterator[Entry]:
    for file in walk(tree):
        entry = entry_of(file, split, file, tree.name)
        named = "reason" in entry or WORDNET.fullmatch(entry["class"])
        yield entry if named else {"file": file, "reason": "not in a folder that is named by a WordNet ID"}


def _labels(folder: Path, archives: Mapping[Split | None, Path], published: int) -> dict[int, str]:
    """Return the WordNet ID of each validation image, by its number. published: expected number of images."""
    file = next(iter(lists(folder)), None)
    if file is None and None in archives:
        return dict(enumerate(kit_labels(archives[None]), 1))
    if file is None:
        raise DataError(
            f"{folder}: nothing says of which class each validation image is. Add {LABELS[0]} or {SOLUTION}."
        )
    lines = list(read_flist(file))
    if file.name == SOLUTION:  # all boxes of an image have the class of the first one
        rows = [line.partition(",") for line in lines if line.startswith("ILSVRC2012_val_")]
        labels = {int(name[-8:]): boxes.partition(" ")[0] for name, _, boxes in rows if name[-8:].isdigit()}
    else:
        labels = dict(enumerate(map(str.strip, lines), 1))
    wrong = next((label for label in labels.values() if not WORDNET.fullmatch(label)), None)
    if wrong is not None:
        raise DataError(f"{file}: {wrong!r} is no WordNet ID. It needs one for each validation image, one a line.")
    if len(labels) < published:
        raise DataError(f"{file}: has {len(labels):,} labels for {published:,} validation images. Get it again.")
    return labels


def kit_labels(kit: Path) -> list[str]:
    """Return the WordNet ID of each validation image: the ground truth holds the numbers of the synsets in `meta.mat`.

    Raises DataError for another or a damaged archive.
    """
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


SOURCE = Source(list_imagenet, published=True, names_classes=True, needed=needed, trees=trees, lists=lists)
