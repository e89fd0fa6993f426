"""`source: photos`: the built-in photographs, copied into the stage's folder."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from palette.data.photos import PHOTOS, Photo, photo_folder
from palette.data.sources.listing import Listing
from palette.data.sources.manifest import Entry
from palette.errors import DataError
from palette.system.files import replacing

if TYPE_CHECKING:
    from palette.stages.fetch import FetchSpec
    from palette.stages.stage import Stage


def list_photos(stage: "Stage[FetchSpec]") -> Listing:
    """Copy the photographs to `images/` in the stage's folder and list them."""
    source = photo_folder()
    entries = [copy_photo(photo, source, stage.path("images")) for photo in PHOTOS]
    return Listing("photos", [Path("images")], entries, {"classes": [photo.name for photo in PHOTOS]}, len(entries))


def copy_photo(photo: Photo, folder: Path, target: Path) -> Entry:
    """Copy one photograph from `folder` to `target` and return its entry.

    Raises DataError if its bytes are not the known ones.
    """
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
        "file": photo.file,
        "class": photo.name,
        "title": photo.title,
        "author": photo.author,
        "license": photo.license,
        "url": photo.url,
        "test_box": list(photo.test_box),
    }
