"""Fetch stage: locate the original images and list them in `manifest.jsonl` with their SHA-256."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from palette.config.datasets import Split
from palette.data.sources.checking import checked
from palette.data.sources.files import COMPLETE_IT
from palette.data.sources.manifest import Entry, Manifest, Opener, write_manifest
from palette.data.sources.readers import READERS
from palette.data.sources.source import FetchStage
from palette.data.sources.splits import like_splits
from palette.errors import DataError
from palette.system.progress import say, track

SHOWN = 5
"""Maximum number of rejected files listed in a message."""


def run(stage: FetchStage) -> None:
    """Write `manifest.jsonl`, and next to it copies of the images that cannot be read in place."""
    known, fetch = stage.spec.known, stage.spec.fetch
    listing = READERS[known.reader if known else fetch.source].list_files(stage)
    header = {"source": listing.source, "containers": [str(c) for c in listing.containers]}
    about = known.model_dump(include={"title", "version", "license", "citation", "homepage"}) if known else {}
    opener = Opener([stage.path("") / container for container in listing.containers])
    entries = require_complete(opener, listing.entries, known.images if known else {})
    entries = checked(opener, entries, stage.spec.runtime.threads)
    entries = track(entries, f"fetch {stage.spec.name}", listing.total, "files")
    entries = require_pictures(opener, entries, fetch.splits or (known.splits if known else {}))
    entries = same_shapes(opener, entries)
    manifest = write_manifest(stage.path("manifest.jsonl"), {**header, **about, **listing.facts}, entries)
    if fetch.source == "archive" and not fetch.splits and (hint := like_splits(manifest.classes, fetch.source)):
        say(f"fetch {stage.spec.name}: {hint}")
    rejected = manifest.header["rejected"]
    if rejected:
        examples = _examples(islice(manifest.rejected(), SHOWN))
        say(f"fetch {stage.spec.name}: {rejected} of {rejected + manifest.header['images']} files left out{examples}")
    stage.write_card(["manifest.jsonl", *_copies(manifest)], images=manifest.header["images"], rejected=rejected)


def _copies(manifest: Manifest) -> list[str]:
    """Return the files in the stage's own folder: archives, or images in a folder."""
    own = [Path(container) for container in manifest.header["containers"] if not Path(container).is_absolute()]
    folder = manifest.path.parent
    images = [f"{c}/{entry['file']}" for c in own if (folder / c).is_dir() for entry in manifest.images()]
    return images + [str(c) for c in own if (folder / c).is_file()]


def require_complete(opener: Opener, entries: Iterable[Entry], published: Mapping[Split, int]) -> Iterator[Entry]:
    """Yield the listed files, then raise DataError unless each split has its published number of images."""
    found, containers = Counter[str](), dict[str, int]()
    for entry in entries:
        if "reason" not in entry:
            split = entry.get("split", "")
            found[split] += 1
            containers[split] = entry.get("container", 0)
        yield entry
    expected = {"": sum(published.values())} if "" in found else published
    for split, number in expected.items() if published else ():
        if found[split] != number:
            searched = [opener.containers[containers[split]]] if split in containers else opener.containers
            place = ", ".join(map(str, searched))
            pictures = f"pictures of the split `{split}`" if split else "pictures"
            raise DataError(f"{place}: {found[split]:,} {pictures}, but {number:,} are published; {COMPLETE_IT}.")


def require_pictures(opener: Opener, entries: Iterable[Entry], splits: Mapping[Split, str]) -> Iterator[Entry]:
    """Yield the entries, then raise DataError if no image was readable, or none in one of `splits`."""
    found, rejected = set[str](), list[Entry]()
    for entry in entries:
        if "reason" not in entry:
            found.add(entry.get("split", ""))
        elif len(rejected) < SHOWN:
            rejected.append(entry)
        yield entry
    if not found:
        raise DataError(f"{opener.containers[0]}: no picture in it that could be read{_examples(rejected)}")
    for split, value in splits.items():
        if split not in found:
            raise DataError(
                f"{opener.containers[0]}: no picture in it that could be read is in the split `{split}`, {value!r} (`splits`). "
                "Write the name of a folder or list that has some."
            )


def _examples(rejected: Iterable[Entry]) -> str:
    lines = [f"\n  {entry['file']}: {entry['reason']}" for entry in rejected]
    return ":" + "".join(lines) if lines else "; it has no files."


def same_shapes(opener: Opener, entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield the entries, then raise DataError if a condition's aspect ratio differs from its target's."""
    first, count = None, 0
    for entry in entries:
        if "condition" in entry and not same_shape(*entry["size"], *entry["condition"]["size"]):
            first, count = first or entry, count + 1
        yield entry
    if first:
        size = "{} × {}".format
        raise DataError(
            f"{opener.place(first)}: {size(*first['size'])}, and its condition "
            f"{opener.place(first['condition'])}: {size(*first['condition']['size'])}. The two must have the same "
            f"ratio of width to height, so that one lies on the other. Pairs with this fault: {count}."
        )


def same_shape(width: int, height: int, other_width: int, other_height: int) -> bool:
    """Return whether two sizes have the same aspect ratio, allowing for sides rounded to whole pixels."""
    return abs(width * other_height - other_width * height) <= max(width, height, other_width, other_height)
