"""fetch: where the original images come from, listed in `manifest.json` with the SHA-256 of each."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from PIL import UnidentifiedImageError

from palette.data.folders import walk
from palette.data.parallel import ordered
from palette.data.photos import PHOTOS, Photo, photo_folder
from palette.data.pictures import FORMATS, UNREADABLE, decode_picture
from palette.errors import DataError
from palette.files import replacing, write_json
from palette.progress import track
from palette.spec import FetchSpec
from palette.stage import Stage, say


def run(stage: Stage[FetchSpec]) -> None:
    """Write `manifest.json`; with `photos` also the files themselves, into `images/`."""
    path = stage.spec.fetch.path
    manifest = fetch_photos(stage) if path is None else list_folder(path, stage.spec.runtime.threads)
    write_json(stage.path("manifest.json"), manifest)
    copies = [f"images/{photo.file}" for photo in PHOTOS] if path is None else []
    stage.write_card(["manifest.json", *copies], images=len(manifest["images"]), rejected=len(manifest["rejected"]))


# ------------------------------------------------------------------------------------------------- photos


def fetch_photos(stage: Stage[FetchSpec]) -> dict[str, Any]:
    """Copy the embedded photographs into `images/` and return their manifest."""
    folder = photo_folder()
    entries = [copy_photo(photo, folder, stage.path("images")) for photo in PHOTOS]
    return manifest_of("photos", "images", [photo.name for photo in PHOTOS], entries, [])


def copy_photo(photo: Photo, folder: Path, target: Path) -> dict[str, Any]:
    """Copy one photograph from `folder` to `target`, if it has the known bytes; return its entry."""
    source = folder / photo.file
    try:
        data = source.read_bytes()
    except OSError as error:
        raise DataError(f"{source}: not readable ({error.strerror}). Install scikit-image anew.") from None
    found = hashlib.sha256(data).hexdigest()
    if found != photo.sha256:
        raise DataError(
            f"{source}: not the photograph that is known by this name (SHA-256 {found}, expected {photo.sha256}). "
            "Install scikit-image anew."
        )
    with replacing(target / photo.file) as temporary:
        temporary.write_bytes(data)
    return {
        **picture_entry(photo.file, photo.name, data),
        "title": photo.title,
        "author": photo.author,
        "license": photo.license,
        "url": photo.url,
        "test_box": list(photo.test_box),
    }


# ------------------------------------------------------------------------------------------------- folder


def list_folder(folder: Path, threads: int) -> dict[str, Any]:
    """The manifest of a user's folder: every readable picture, and every other file with the reason."""
    if not folder.is_dir():
        raise DataError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'} (`path` of `fetch`).")
    files = sorted(walk(folder))
    checked = ordered(partial(check, folder), files, threads)
    entries = list(track(checked, f"fetch {folder.name}", len(files), "files"))
    images = [entry for entry in entries if "reason" not in entry]
    rejected = [entry for entry in entries if "reason" in entry]
    if not images:
        raise DataError(f"{folder}: no picture in it that could be read{_examples(rejected)}")
    if rejected:
        say(f"fetch {folder.name}: {len(rejected)} of {len(files)} files left out{_examples(rejected)}")
    classes = sorted({entry["class"] for entry in images})
    return manifest_of("folder", str(folder.resolve()), classes, images, rejected)


def _examples(rejected: list[dict[str, Any]]) -> str:
    lines = [f"\n  {entry['file']}: {entry['reason']}" for entry in rejected[:5]]
    return ":" + "".join(lines) if lines else "; it has no files."


def check(folder: Path, file: str) -> dict[str, Any]:
    """The entry of a picture, decoded completely to be sure of it, or `{"file": …, "reason": …}`."""
    path = folder / file
    if any("\ud800" <= letter <= "\udfff" for letter in file):  # how Python reads bytes that are not UTF-8
        return {"file": ascii(file), "reason": "its name is not UTF-8"}
    if not file.lower().endswith(FORMATS):
        return {"file": file, "reason": f"no picture by its ending; these are taken: {' '.join(FORMATS)}"}
    if not path.is_file():
        return {"file": file, "reason": "not a regular file, or a link to nowhere"}
    try:
        return picture_entry(file, Path(file).parts[0] if "/" in file else folder.name, path.read_bytes())
    except UnidentifiedImageError:
        return {"file": file, "reason": "no picture, in spite of its ending"}
    except UNREADABLE as error:
        return {"file": file, "reason": f"damaged or not supported ({error})"}


# -------------------------------------------------------------------------------------------------- both


def picture_entry(file: str, category: str, data: bytes) -> dict[str, Any]:
    """What is known of a picture from its bytes. `size` is width and height as seen, after EXIF orientation."""
    return {
        "file": file,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "class": category,
        "size": list(decode_picture(data).size),
    }


def manifest_of(
    source: str, folder: str, classes: list[str], images: list[dict[str, Any]], rejected: list[dict[str, Any]]
) -> dict[str, Any]:
    """The content of `manifest.json`. folder: where the files lie; if relative, to the manifest."""
    return {"source": source, "folder": folder, "classes": classes, "images": images, "rejected": rejected}
