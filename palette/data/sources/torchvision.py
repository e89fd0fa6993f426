"""Datasets that torchvision knows: its classes read them. Imports torch, so only the job that fetches such a dataset imports this.

The archives are downloaded here, where a download goes on after a break, into the places where torchvision looks for them. A dataset
that consists of picture files is listed where they lie; one that consists of arrays becomes a ZIP of PNGs.
"""

import inspect
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from torchvision import datasets

from palette.config.datasets import Split
from palette.data.sources.files import folder_of, obtain_all
from palette.data.sources.listing import Listing
from palette.data.sources.manifest import Entry
from palette.data.sources.members import members
from palette.errors import DataError
from palette.system.download import alone
from palette.system.files import replacing

if TYPE_CHECKING:
    from palette.stages.fetch import FetchSpec
    from palette.stages.stage import Stage

BASES = {"Flowers102": "flowers-102", "OxfordIIITPet": "oxford-iiit-pet"}
"""Classes that look for their files in a sub-folder."""
STORE = "images.zip"


def list_torchvision(stage: "Stage[FetchSpec]") -> Listing:
    """The pictures of a torchvision dataset, by its own splits."""
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
    with alone(root / known.torchvision):  # it unpacks its archives there
        made = {split: opened(kind, root, options) for split, options in known.arguments.items()}
    source = stage.spec.fetch.source
    total = sum(len(dataset) for dataset in made.values())
    if all(isinstance(dataset[0][0], str | Path) for dataset in made.values()):
        return Listing(source, [root.resolve()], listed(made, root), total=total)
    write_pngs(stage.path(STORE), made)
    return Listing(source, [Path(STORE)], stored(stage.path(STORE)), total=total)


def place_archives(paths: dict[str, Path], base: Path) -> None:
    """Let torchvision find the downloads in `base`."""
    base.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        if not (base / name).exists():
            (base / name).symlink_to(path)


def opened(kind: Callable[..., Any], root: Path, options: dict[str, str | bool]) -> Any:
    """A dataset; it unpacks its files if it has not yet. Its pictures are their paths, where the class lets us choose what opens them."""
    loader = {"loader": str} if "loader" in inspect.signature(kind).parameters else {}
    try:
        return kind(str(root), download=True, **options, **loader)
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        raise DataError(f"{root}: torchvision cannot read it ({error}).") from None


def name_of(dataset: Any, label: object) -> str:
    """The name of a class, as the dataset has it, or its number. Numbered, so that names sort as the labels do."""
    if not isinstance(label, int):
        return "pictures"  # a target of another kind: a mask, attributes
    names = getattr(dataset, "classes", None)
    name = names[label] if names is not None else ""
    text = name if isinstance(name, str) else name[0]
    return f"{label:03} {text}".strip().replace("/", "-")


def listed(made: Mapping[Split, Any], root: Path) -> Iterator[Entry]:
    """The picture files of a dataset."""
    for split, dataset in made.items():
        for number in range(len(dataset)):
            path, label = dataset[number]
            file = Path(path).absolute().relative_to(root.absolute()).as_posix()
            yield {"file": file, "class": name_of(dataset, label), "split": split}


def write_pngs(path: Path, made: Mapping[Split, Any]) -> None:
    """The pictures of a dataset as `train/003 cat/000017.png` and so on, unchanged, in an uncompressed ZIP."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for split, dataset in made.items():
            for number in range(len(dataset)):
                image, label = dataset[number]
                entry = zipfile.ZipInfo(
                    f"{split}/{name_of(dataset, label)}/{number:06}.png"
                )  # of 1980: equal work, equal bytes
                archive.writestr(entry, _png(image))


def _png(image: Image.Image | str) -> bytes:
    data = io.BytesIO()
    with Image.open(image) if isinstance(image, str) else image as picture:
        picture.save(data, "PNG")
    return data.getvalue()


def stored(path: Path) -> Iterator[Entry]:
    for entry in members(path):
        split, name, _ = entry["file"].split("/")
        yield {**entry, "class": name, "split": split}
