"""Input files of `palette restore`, and its results on disk."""

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
    """Return the files in `paths` and the images in its folders, but for those in `out`, each once, in order.

    Raises DataError for a missing path and a folder without images, ConfigError for a folder that is `out`.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise DataError(f"no such file or folder: {', '.join(missing)}.")
    photos: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir() and path.resolve() == out.resolve():
            raise ConfigError(f"{path}: results would lie among the photos. Give another folder with -o.")
        images = [file for file in _files_of(path, out) if file.suffix.lower() in FORMATS] if path.is_dir() else [path]
        if not images:
            raise DataError(f"{path}: no pictures in it ({', '.join(FORMATS)}).")
        for photo in images:
            photos.setdefault(photo.resolve(), photo)
    return list(photos.values())


def skipped_files(paths: Sequence[Path], out: Path) -> list[str]:
    """Return the files in the folders of `paths` with an unsupported extension, such as HEIC."""
    files = (file for folder in paths if folder.is_dir() for file in _files_of(folder, out))
    return [str(file) for file in files if file.suffix.lower() not in FORMATS and file.name != PAGE]


def _files_of(folder: Path, out: Path) -> list[Path]:
    """Return the files in a folder and its subfolders that are not in `out`."""
    files = (folder / name for name in sorted(walk(folder)))
    return [file for file in files if out.resolve() not in file.resolve().parents]


def result_paths(photos: Iterable[Path], out: Path, samples: int) -> list[list[Path]]:
    """Return the files of each photo's samples: `OUT/cat-0.png`.

    A stem that an earlier photo has, ignoring case, gets `-2`, `-3`, ….
    """
    used: set[str] = set()
    paths = []
    for photo in photos:
        name, number = photo.stem, 2
        while name.casefold() in used:
            name, number = f"{photo.stem}-{number}", number + 1
        used.add(name.casefold())
        paths.append([out / f"{name}-{sample}.png" for sample in range(samples)])
    return paths


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


def check_results(results: Sequence[Path], inputs: Iterable[Path], force: bool, ours: Collection[Path]) -> None:
    """Create the folder of `results`. Raises ConfigError if one is an input, or exists and may not be replaced.

    ours: results that an earlier run of the same command has left.
    """
    try:
        results[0].parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be a folder for the results ({error.strerror}).") from None
    existing = {path: path.stat() for path in results if path.exists()}
    read = {(status.st_dev, status.st_ino) for status in map(Path.stat, inputs)}  # whatever path they are given by
    for path, status in existing.items():
        if (status.st_dev, status.st_ino) in read:
            raise ConfigError(f"{path}: this input would be overwritten. Give another folder with -o.")
    others = [path for path in existing if path not in ours]
    if others and not force:
        more = f" and {len(others) - 1} more of the results" if len(others) > 1 else ""
        raise ConfigError(
            f"{others[0]}{more}: there already, but not made by this command from these photos with these options. "
            "Add --force to replace them, or give another -o."
        )
