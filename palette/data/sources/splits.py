"""Which pictures of a source are for training and which for testing, as its user or its publisher says: sub-folders, or lists."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from palette.config.datasets import Split
from palette.errors import DataError

NAMES: Mapping[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation", "dev", "eval"),
}
"""Split → what its folder is often called."""
LONGEST = 4096
"""Bytes of the longest path that a list may hold."""
BOM = b"\xef\xbb\xbf"
"""What some editors put before a text in UTF-8."""


@dataclass(frozen=True)
class Splits:
    """prefixes: sub-folder → split. lists: file → split. With neither, everything is of no split."""

    prefixes: Mapping[str, str]
    lists: Mapping[str, str]

    def place(self, file: str) -> tuple[str | None, str] | None:
        """The split of a file and its path below the split's folder; None if it is in no split at all."""
        if self.lists:
            return (self.lists[file], file) if file in self.lists else None
        for prefix, split in self.prefixes.items():
            if file.startswith(f"{prefix}/"):
                return split, file[len(prefix) + 1 :]
        return None if self.prefixes else (None, file)


def splits_of(splits: Mapping[Split, str], root: Path | None) -> Splits:
    """What `fetch.splits` means. root: the folder that paths in lists are relative to; None: the folder of each list.

    Raises DataError for lists that name a file twice.
    """
    prefixes, lists = dict[str, str](), dict[str, str]()
    for split, value in splits.items():
        file = list_file(value, root)
        if file is None:
            prefixes[value.strip("/")] = split
            continue
        for line in read_flist(file):
            name = relative(line, file, root)
            if lists.setdefault(name, split) != split:
                raise DataError(f"{file}: {line} is in the list of the other split too.")
    if prefixes and lists:
        raise DataError("`splits` of `fetch`: either two sub-folders or two lists, not one of each.")
    return Splits(prefixes, lists)


def like_splits(classes: Sequence[str], source: str) -> str:
    """Return a hint where all classes of a dataset without `splits` have the names of splits, training among them; else nothing."""
    found = {split: [name for name in classes if name.lower() in names] for split, names in NAMES.items()}
    if not all(found.values()) or len(classes) > sum(map(len, found.values())):
        return ""
    splits = f"`splits: {{train: {found['train'][0]}, test: {found['test'][0]}}}` into `fetch`"
    way = "the test images into a `test_list` of `prepare`" if source == "pairs" else splits
    what = "are taken for classes, and test images are drawn from all of them"
    return f"its folders {', '.join(classes)} {what}. If they are splits, write {way}."


def list_file(value: str, root: Path | None) -> Path | None:
    """The list that an entry of `splits` names, absolutely or from the source's folder on; or None if it is a sub-folder."""
    file = Path(value).expanduser()
    if not file.is_absolute():
        if root is None:
            return None
        file = (root if root.is_dir() else root.parent) / file
    return file if file.is_file() else None


def read_flist(file: Path) -> Iterator[str]:
    """The paths in a list: one a line, in UTF-8. Everything but the line's end is part of the name, also blanks and `#`."""
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(LONGEST + 2), b""), 1):
                path = (line.removeprefix(BOM) if number == 1 else line).removesuffix(b"\n").removesuffix(b"\r")
                if len(path) > LONGEST or b"\x00" in path:
                    raise DataError(f"{file}:{number}: not a path. A list of images has one path a line.")
                if path:
                    yield path.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not in UTF-8 ({error.reason}).") from None
    except OSError as error:
        raise DataError(f"{file}: not readable ({error.strerror}).") from None


def relative(line: str, file: Path, root: Path | None) -> str:
    """A line as a path relative to `root`, or without one as an absolute path without its first `/`. It may not climb out with `..`."""
    path = Path(line)
    if ".." in path.parts:
        raise DataError(f"{file}: {line!r} leads out of its folder. Write the path without `..`.")
    if root is None:
        return (path if path.is_absolute() else file.parent / path).as_posix().lstrip("/")
    if path.is_absolute() and not path.is_relative_to(root):
        raise DataError(
            f"{file}: {line!r} does not lie in {root} (`path` of `fetch`). Leave `path` out for absolute paths."
        )
    return (path.relative_to(root) if path.is_absolute() else path).as_posix()
