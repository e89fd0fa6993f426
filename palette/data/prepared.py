"""Contents of `prepare.json`, which describes a prepared dataset."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from palette.config.datasets import Squares
from palette.data.bad_files import BadFiles
from palette.data.images.crops import Split
from palette.data.images.pictures import LOSSLESS
from palette.data.images.ranges import Ranges
from palette.data.sources.manifest import Manifest
from palette.data.store.writer import StoreWriter

PARTS = ".parts"
"""Subfolder of a `prepare` stage for work in progress, from which a killed run resumes."""


SHOWN = 20
"""Maximum number of duplicate pairs listed; all others are in the store's manifest, or were left out."""


LISTED = 1000
"""Maximum number of groups listed whose names differ only in case."""


@dataclass(frozen=True)
class Noticed:
    """Observations made during the selection of pictures: see `Selection`."""

    copies: int = 0
    same_names: Sequence[Sequence[str]] = ()


@dataclass
class Counts:
    """Totals over the lines of a split's journal."""

    labels: Counter[int] = field(default_factory=Counter)
    converted: Counter[str] = field(default_factory=Counter)
    alike: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)
    listing: Any = field(default_factory=hashlib.sha256)

    @classmethod
    def of(cls, writer: StoreWriter) -> "Counts":
        counts = cls()
        for line in writer.lines():
            content = line.content
            if "like" in content:
                counts.alike["equal" if content["like"]["equal"] else "near"] += 1
                if len(counts.examples) < SHOWN:
                    counts.examples.append({"train": content["file"], **content["like"]})
            if line.place:
                counts.labels[content["label"]] += 1
                counts.converted.update(content.get("converted", ()))
                identity = [content["sha256"], content["box"], content["label"], content.get("condition")]
                counts.listing.update(json.dumps(identity).encode())
        return counts


def summary(
    manifest: Manifest,
    options: Squares,
    found: Ranges,
    writers: Mapping[Split, StoreWriter],
    conditions: Mapping[Split, StoreWriter],
    bad: BadFiles,
    noticed: Noticed,
) -> dict[str, Any]:
    """Return the content of `prepare.json`.

    `sha256` of a split is that of its list of crops: equal lists give equal images. `duplicates` counts training
    pictures that are also in the test set, by their bytes (`equal`) or by perceptual hash (`near`); `copies` counts
    those that the selection left out. `same_names` lists names that differ only in case, which a case-insensitive file
    system would merge into one file.
    """
    counts = {split: Counts.of(writer) for split, writer in writers.items()}
    content: dict[str, Any] = {
        "source": manifest.source,
        **options.model_dump(include={"image_size", "filter", "crop", "test_crop", "background", "gray"}),
        "range": found.images,
        "classes": manifest.classes,
        "files": {"listed": bad.total, "bad": bad.count, "examples": bad.examples},
        "same_names": {
            "count": sum(map(len, noticed.same_names)),
            "names": [list(names) for names in noticed.same_names[:LISTED]],
        },
        "duplicates": {
            "option": options.duplicates,
            "copies": noticed.copies,
            **{kind: counts["train"].alike[kind] for kind in ("equal", "near")},
            "examples": counts["train"].examples,
        },
    }
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        counted = counts[split]
        content[split] = {
            "images": writers[split].images,
            "per_class": {name: counted.labels[label] for label, name in enumerate(manifest.classes)},
            "converted": dict(sorted(counted.converted.items())),
            "sha256": counted.listing.hexdigest(),
        }
        if (writer := conditions.get(split)) is not None:
            content[split]["conditions"] = {"converted": dict(sorted(Counts.of(writer).converted.items()))}
    if conditions:
        content["conditions"] = {"filter": options.conditions.filter or options.filter, "range": found.conditions}
    return content


def losses(facts: Mapping[str, Any]) -> str:
    """Return the lossy conversions to 8-bit RGB with their counts from `prepare.json`: `transparency (3), CMYK (1)`."""
    stores = [store for split in ("train", "test") for store in (facts[split], facts[split].get("conditions", {}))]
    found = sum((Counter(store.get("converted")) for store in stores), Counter[str]())
    return ", ".join(f"{note} ({count})" for note, count in found.most_common() if note not in LOSSLESS)
