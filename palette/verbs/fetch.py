"""fetch: where the original images come from, listed in `manifest.json` with the SHA-256 of each."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from PIL import UnidentifiedImageError

from palette.data.folders import pairs, walk
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
    fetch, threads = stage.spec.fetch, stage.spec.runtime.threads
    copies: list[str] = []
    if fetch.path is None:
        manifest = fetch_photos(stage)
        copies = [f"images/{photo.file}" for photo in PHOTOS]
    elif fetch.conditions is None:
        manifest = list_folder(fetch.path, threads)
    else:
        manifest = list_pairs(fetch.path, fetch.conditions, threads)
    write_json(stage.path("manifest.json"), manifest)
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
    _refuse_missing(folder, "path")
    files = sorted(walk(folder))
    checked = ordered(partial(check, folder), files, threads)
    return _listing("folder", folder, list(track(checked, f"fetch {folder.name}", len(files), "files")))


def _refuse_missing(folder: Path, option: str) -> None:
    if not folder.is_dir():
        raise DataError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'} (`{option}` of `fetch`).")


def _listing(source: str, folder: Path, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The manifest of checked files. Raises DataError if none is a readable picture."""
    images = [entry for entry in entries if "reason" not in entry]
    rejected = [entry for entry in entries if "reason" in entry]
    if not images:
        raise DataError(f"{folder}: no picture in it that could be read{_examples(rejected)}")
    if rejected:
        say(f"fetch {folder.name}: {len(rejected)} of {len(entries)} files left out{_examples(rejected)}")
    classes = sorted({entry["class"] for entry in images})
    return manifest_of(source, str(folder.resolve()), classes, images, rejected)


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


# -------------------------------------------------------------------------------------------------- pairs


def list_pairs(targets: Path, conditions: Path, threads: int) -> dict[str, Any]:
    """The manifest of two folders: that of the targets, with `condition` in each entry and the folder `conditions`.

    A pair of which one picture cannot be read is rejected as a whole. Raises DataError for pictures without a partner,
    and for partners of different shapes.
    """
    for folder, option in ((targets, "path"), (conditions, "conditions")):
        _refuse_missing(folder, option)
    found = pairs(targets, conditions)
    checked = ordered(lambda pair: check_pair(targets, conditions, *pair), found, threads)
    manifest = _listing("pairs", targets, list(track(checked, f"fetch {targets.name}", len(found), "pairs")))
    unlike = [entry for entry in manifest["images"] if not same_shape(*entry["size"], *entry["condition"]["size"])]
    if unlike:
        first, size = unlike[0], "{} × {}".format
        raise DataError(
            f"{targets / first['file']}: {size(*first['size'])}, and its condition "
            f"{conditions / first['condition']['file']}: {size(*first['condition']['size'])}. The two must have the same "
            f"ratio of width to height, so that one lies on the other. Pairs with this fault: {len(unlike)}."
        )
    return {**manifest, "conditions": str(conditions.resolve())}


def check_pair(targets: Path, conditions: Path, target: str, condition: str) -> dict[str, Any]:
    """The entry of a target with that of its condition inside, or `{"file": …, "reason": …}`."""
    entry, other = check(targets, target), check(conditions, condition)
    if "reason" in other and "reason" not in entry:
        return {"file": target, "reason": f"its condition {other['file']}: {other['reason']}"}
    return entry if "reason" in entry else {**entry, "condition": {k: other[k] for k in other if k != "class"}}


def same_shape(width: int, height: int, other_width: int, other_height: int) -> bool:
    """Whether one size is the other at another scale, with sides that were rounded to whole pixels."""
    return abs(width * other_height - other_width * height) <= max(width, height, other_width, other_height)


# ---------------------------------------------------------------------------------------------------- all


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
