"""`source: photos`: the built-in photographs, copied into the stage's folder.

They are the images in scikit-image's package that are in the public domain or CC0, by what scikit-image states for each
in the documentation of `skimage.data`. Images with another or an unclear license (`ihc`, `motorcycle`) or without color
are left out. `photos.csv` beside this file lists them, in the order of their labels and of the test images.
"""

import csv
import hashlib
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from palette.data.images.pictures import Box
from palette.data.sources.manifest import Entry
from palette.data.sources.source import FetchStage, Listing, Source, Survey
from palette.errors import DataError
from palette.system.files import replacing


@dataclass(frozen=True)
class Photo:
    """Built-in photograph: its origin, its expected SHA-256, and the region reserved for testing.

    test_box spans the photograph from edge to edge. It was chosen by eye, so that both parts show something
    recognizable and training sees the kinds of colors and textures that appear in testing.
    """

    file: str
    name: str
    title: str
    author: str
    license: str
    url: str
    sha256: str
    test_box: Box


def _photo(row: dict[str, str]) -> Photo:
    left, top, right, bottom = map(int, row.pop("test_box").split())
    return Photo(test_box=(left, top, right, bottom), **row)


TABLE = Path(__file__).with_suffix(".csv").read_text(encoding="utf-8")
PHOTOS = [_photo(row) for row in csv.DictReader(TABLE.splitlines())]


def photo_folder() -> Path:
    """Return the folder of scikit-image's images, without importing or downloading anything.

    Raises DataError if scikit-image is not installed.
    """
    package = find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        raise DataError("scikit-image is not installed, which brings the photographs: `pip install scikit-image`.")
    return Path(package.submodule_search_locations[0]) / "data"


def list_photos(stage: FetchStage) -> Listing:
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
    facts = asdict(photo)
    del facts["sha256"]
    return {"file": facts.pop("file"), "class": facts.pop("name"), **facts, "test_box": list(photo.test_box)}


SOURCE = Source(
    list_photos,
    own=True,
    survey=lambda dataset, fetch: Survey(classes=[photo.name for photo in PHOTOS]),
    images=len(PHOTOS),
)
