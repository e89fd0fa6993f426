"""Input files of a restore command, and the paths of its results."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from PIL import Image as Pictures
from PIL.PngImagePlugin import PngInfo

from palette.data.images.degraded import Image
from palette.data.images.pictures import FORMATS, UNREADABLE, decode_picture
from palette.data.sources.walk import walk
from palette.errors import ConfigError, DataError
from palette.system.files import replacing

PAGE = "index.html"
MARK = "palette"
"""Name of the PNG text entry that identifies how a result was made."""


def photos_in(paths: Sequence[Path], out: Path) -> list[Path]:
    """Return the files in `paths` and the images in its folders, each once, in order.

    Files in `out` are skipped in folders.

    Raises DataError for a missing path and a folder without images, ConfigError for a folder that is `out`.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise DataError(f"no such file or folder: {', '.join(missing)}.")
    found: dict[Path, Path] = {}
    for path in paths:
        for photo in _pictures_of(path, out) if path.is_dir() else [path]:
            found.setdefault(photo.resolve(), photo)
    return list(found.values())


def skipped_files(paths: Sequence[Path], out: Path) -> list[str]:
    """Return the files in the folders of `paths` with an unsupported extension, such as HEIC."""
    names = (folder / name for folder in paths if folder.is_dir() for name in sorted(walk(folder)))
    others = (file for file in names if file.suffix.lower() not in FORMATS and file.name != PAGE)
    return [str(file) for file in others if out.resolve() not in file.resolve().parents]


def _pictures_of(folder: Path, out: Path) -> list[Path]:
    if folder.resolve() == out.resolve():
        raise ConfigError(f"{folder}: results would lie among the photos. Give another folder with -o.")
    files = [folder / name for name in sorted(walk(folder)) if Path(name).suffix.lower() in FORMATS]
    pictures = [file for file in files if out.resolve() not in file.resolve().parents]
    if not pictures:
        raise DataError(f"{folder}: no pictures in it ({', '.join(FORMATS)}).")
    return pictures


def result_names(photos: Iterable[Path]) -> list[str]:
    """Return the stem of each photo's file name, with `-2`, `-3` … added if an earlier photo has it, ignoring case."""
    taken: set[str] = set()
    names = []
    for photo in photos:
        name, number = photo.stem, 2
        while name.casefold() in taken:
            name, number = f"{photo.stem}-{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def result_path(out: Path, name: str, sample: int) -> Path:
    """Return the path of a result: `OUT/cat-0.png`."""
    return out / f"{name}-{sample}.png"


def write_png(path: Path, pixels: Image, mark: str) -> None:
    """Write uint8 [H, W, 3] to a file that contains `mark`. Raises OSError if it cannot be written."""
    text = PngInfo()
    text.add_text(MARK, mark)
    with replacing(path) as temporary:
        Pictures.fromarray(pixels).save(temporary, format="PNG", pnginfo=text)


def has_mark(path: Path, mark: str) -> bool:
    """Return whether a result exists and contains `mark`, so that it was made by the same command."""
    try:
        with Pictures.open(path, formats=["PNG"]) as picture:
            return picture.info.get(MARK) == mark
    except UNREADABLE:
        return False


def is_whole(path: Path) -> bool:
    """Return whether a result is complete, down to its last pixel: its mark is written before the pixels."""
    try:
        decode_picture(path.read_bytes())
    except UNREADABLE:
        return False
    return True


def check_results(results: Sequence[Path], inputs: Iterable[Path], force: bool, ours: Collection[Path] = ()) -> None:
    """Create the folders of `results`. Raises ConfigError if one is an input, or exists and may not be replaced.

    ours: results that an earlier run of the same command has left.
    """
    try:
        for folder in {path.parent for path in results}:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be a folder for the results ({error.strerror}).") from None
    there = [path for path in results if path.exists()]
    read = {_identity(path) for path in inputs}
    for path in there:
        if _identity(path) in read:
            raise ConfigError(f"{path}: this input would be overwritten. Give another folder with -o.")
    others = [path for path in there if path not in ours]
    if others and not force:
        more = f" and {len(others) - 1} more of the results" if len(others) > 1 else ""
        raise ConfigError(
            f"{others[0]}{more}: there already, but not made by this command from these photos with these options. "
            "Add --force to replace them, or give another -o."
        )


def _identity(path: Path) -> tuple[int, int]:
    """Return the identity of a file, whatever path it is given by."""
    status = path.stat()
    return status.st_dev, status.st_ino
