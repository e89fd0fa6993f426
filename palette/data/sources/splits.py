"""Splits and classes of files by their place: in sub-folders, or in lists."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from palette.config.datasets import Split
from palette.data.images.pictures import FORMATS
from palette.data.sources.manifest import Entry
from palette.errors import DataError

NAMES: Mapping[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation", "dev", "eval"),
}
"""Split → common names of its folder."""
LONGEST = 4096
"""Maximum length of a path in a list, in bytes."""
BOM = b"\xef\xbb\xbf"
"""Byte order mark that some editors put before UTF-8 text."""


@dataclass(frozen=True)
class Splits:
    """Splits of a source. prefixes: sub-folder → split. lists: file → split. With neither, no file has a split."""

    prefixes: Mapping[str, str]
    lists: Mapping[str, str]

    def place(self, file: str) -> tuple[str | None, str] | None:
        """Return a file's split and its path below the split's folder; None if it is in no split."""
        if self.lists:
            return (self.lists[file], file) if file in self.lists else None
        for prefix, split in self.prefixes.items():
            if file.startswith(f"{prefix}/"):
                return split, file[len(prefix) + 1 :]
        return None if self.prefixes else (None, file)


def splits_of(splits: Mapping[Split, str], root: Path | None) -> Splits:
    """Resolve `fetch.splits`. root: the folder that paths in lists are relative to; None: the folder of each list.

    Raises DataError for a file in both lists, and for one list combined with one sub-folder.
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
    """Return a hint if all classes of a dataset without `splits` have names of splits, of both kinds; else empty."""
    found = {split: [name for name in classes if name.lower() in names] for split, names in NAMES.items()}
    if not all(found.values()) or len(classes) > sum(map(len, found.values())):
        return ""
    splits = f"`splits: {{train: {found['train'][0]}, test: {found['test'][0]}}}` into `fetch`"
    way = "the test images into a `test_list` of `prepare`" if source == "pairs" else splits
    what = "are taken for classes, and test images are drawn from all of them"
    return f"its folders {', '.join(classes)} {what}. If they are splits, write {way}."


def list_file(value: str, root: Path | None) -> Path | None:
    """Return the list that an entry of `splits` names, absolutely or relative to the source; None for a folder."""
    file = Path(value).expanduser()
    if not file.is_absolute():
        if root is None:
            return None
        file = (root if root.is_dir() else root.parent) / file
    return file if file.is_file() else None


def read_flist(file: Path) -> Iterator[str]:
    """Yield the paths in a list: one per line, in UTF-8, blanks and `#` included. Raises DataError if it is unreadable."""
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
    """Return a line as a path relative to `root`, or to `/` without one. Raises DataError for `..` or outside `root`."""
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


def entry_of(file: str, split: str | None, path: str, outside: str) -> Entry:
    """Return a file's entry, based only on its name.

    path: its path below the folder of the classes. outside: the class of files not in a sub-folder.
    """
    if not file.lower().endswith(FORMATS):
        return {"file": file, "reason": f"unsupported file extension; supported: {' '.join(FORMATS)}"}
    first, below, _ = path.partition("/")
    return {"file": file, "class": first if below else outside} | ({"split": split} if split else {})


def labeled(
    entries: Iterable[Entry], split: Split, class_of_file: Callable[[str], str | None], reason: str
) -> Iterator[Entry]:
    """Yield the files of a split with their class; those without a class are rejected for `reason`."""
    for entry in entries:
        name = class_of_file(entry["file"])
        yield {**entry, "class": name, "split": split} if name else {"file": entry["file"], "reason": reason}


def class_of(file: str, root: Path | None) -> str:
    """Return the class of a listed file: its top-level sub-folder below `root`, or without a root its parent folder."""
    parts = Path(file).parts
    if root is None:
        return parts[-2] if len(parts) > 1 else "pictures"
    return parts[0] if len(parts) > 1 else root.name


def refuse_missing(folder: Path, option: str) -> None:
    """Raise DataError unless `folder`, the value of an option of `fetch`, is a folder."""
    if not folder.is_dir():
        raise DataError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'} (`{option}` of `fetch`).")
