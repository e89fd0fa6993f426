"""`reader: torchvision`: datasets read by torchvision's classes.

The archives are downloaded here, where interrupted downloads resume, to the paths where torchvision expects them. A
dataset of image files is listed in place; one of arrays becomes a ZIP of PNGs.
"""

import inspect
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from palette.config.datasets import Split
from palette.data.sources.files import folder_of, obtain_all
from palette.data.sources.manifest import Entry
from palette.data.sources.members import members
from palette.data.sources.source import FetchStage, Listing, Source
from palette.errors import DataError
from palette.system.download import alone
from palette.system.files import replacing

BASES = {"Flowers102": "flowers-102", "OxfordIIITPet": "oxford-iiit-pet"}
"""Classes that expect their files in a sub-folder."""
STORE = "images.zip"


def list_torchvision(stage: FetchStage) -> Listing:
    """List the images of a torchvision dataset, by its own splits."""
    from torchvision import datasets  # imports torch, which takes seconds

    known = stage.spec.known
    assert known is not None
    assert known.torchvision is not None
    root = folder_of(stage.spec, stage.results)
    place_archives(obtain_all(stage), root / BASES.get(known.torchvision, ""))
    kind = getattr(datasets, known.torchvision, None)
    if kind is None:
        raise DataError(
            f"torchvision has no dataset {known.torchvision!r} (`torchvision` of `registry`); look into its list."
        )
    with alone(root / known.torchvision):  # torchvision unpacks its archives there
        parts = {split: opened(kind, root, options) for split, options in known.arguments.items()}
    source = stage.spec.fetch.source
    total = sum(len(dataset) for dataset in parts.values())
    if all(isinstance(dataset[0][0], str | Path) for dataset in parts.values()):
        return Listing(source, [root.resolve()], listed(parts, root), total=total)
    write_pngs(stage.path(STORE), parts)
    return Listing(source, [Path(STORE)], stored(stage.path(STORE)), total=total)


def place_archives(paths: dict[str, Path], base: Path) -> None:
    """Link the downloads into `base`, where torchvision expects them."""
    base.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        if not (base / name).exists():
            (base / name).symlink_to(path)


def opened(kind: Callable[..., Any], root: Path, options: dict[str, str | bool]) -> Any:
    """Open a dataset, which unpacks its files if needed. Its images are paths where the class accepts a `loader`."""
    loader = {"loader": str} if "loader" in inspect.signature(kind).parameters else {}
    try:
        return kind(str(root), download=True, **options, **loader)
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        raise DataError(f"{root}: torchvision cannot read it ({error}).") from None


def name_of(dataset: Any, label: object) -> str:
    """Return a class name: the label's number and the dataset's name for it, if any, so that names sort like labels."""
    if not isinstance(label, int):
        return "pictures"  # another kind of target: a mask, attributes
    names = getattr(dataset, "classes", None)
    name = names[label] if names is not None else ""
    text = name if isinstance(name, str) else name[0]
    return f"{label:03} {text}".strip().replace("/", "-")


def listed(parts: Mapping[Split, Any], root: Path) -> Iterator[Entry]:
    for split, dataset in parts.items():
        for number in range(len(dataset)):
            path, label = dataset[number]
            file = Path(path).absolute().relative_to(root.absolute()).as_posix()
            yield {"file": file, "class": name_of(dataset, label), "split": split}


def write_pngs(path: Path, parts: Mapping[Split, Any]) -> None:
    """Write the images of a dataset unchanged to an uncompressed ZIP, as `train/003 cat/000017.png` and so on."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for split, dataset in parts.items():
            for number in range(len(dataset)):
                image, label = dataset[number]
                data = io.BytesIO()
                with Image.open(image) if isinstance(image, str) else image as picture:
                    picture.save(data, "PNG")
                # Dated 1980, so that equal images give equal bytes.
                entry = zipfile.ZipInfo(f"{split}/{name_of(dataset, label)}/{number:06}.png")
                archive.writestr(entry, data.getvalue())


def stored(path: Path) -> Iterator[Entry]:
    for entry in members(path):
        split, name, _ = entry["file"].split("/")
        yield {**entry, "class": name, "split": split}


SOURCE = Source(list_torchvision, published=True)
