"""Contents of `prepare.json`, which describes a prepared dataset, and the count of its unusable files."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from palette.config.datasets import Split, Squares
from palette.data.images.pictures import FORMATS, LOSSLESS
from palette.data.images.ranges import Ranges
from palette.data.selection import Selection
from palette.data.sources.manifest import Entry, Manifest
from palette.data.store.writer import StoreWriter
from palette.errors import DataError

PARTS = ".parts"
"""Subfolder of a `prepare` stage for work in progress, from which a killed run resumes."""
BAD_SHOWN = 10
"""Maximum number of unusable files listed in a message."""
SHOWN = 20
"""Maximum number of duplicate pairs listed; all others are in the store's manifest, or were left out."""
LISTED = 1000
"""Maximum number of groups listed whose names differ only in case."""


@dataclass
class BadFiles:
    """Counter of the unusable files of a dataset.

    place: prefix of messages. total: number of files in the dataset. limit: maximum share of bad files. One bad file is
    always allowed unless `limit` is 0, because a thousandth of 300 photographs is less than one. strict: allow none.
    """

    place: str
    total: int
    limit: float
    strict: bool
    count: int = 0
    examples: list[Entry] = field(default_factory=list)

    def add(self, file: str, reason: str) -> None:
        """Count a bad file. Raises DataError if it is one too many."""
        self.count += 1
        if len(self.examples) < BAD_SHOWN:
            self.examples.append({"file": file, "reason": reason})
        allowed = max(1, self.limit * self.total) if self.limit else 0
        if not self.strict and self.count <= allowed:
            return
        problem = "a bad file, and `strict` is set"
        if not self.strict:
            share = f"{self.count} of {self.total} files are bad up to here ({self.count / self.total:.2%})"
            problem = f"{share}, and `bad_limit` is {self.limit:.2%}"
        advice = "Repair these files or take them away, or raise `bad_limit` of `prepare`."
        raise DataError(f"{self.place}: {problem}:{self.lines}\n{advice}")

    def add_rejected(self, rejected: Iterable[Entry]) -> None:
        """Count the files that `fetch` rejected, except those without an image extension: a README does no harm."""
        for entry in rejected:
            if entry["file"].lower().endswith(FORMATS):
                self.add(entry["file"], entry["reason"])

    @property
    def lines(self) -> str:
        return "".join(f"\n  {entry['file']}: {entry['reason']}" for entry in self.examples)


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
    ranges: Ranges,
    images: Mapping[Split, StoreWriter],
    conditions: Mapping[Split, StoreWriter],
    bad: BadFiles,
    selection: Selection | None,
) -> dict[str, Any]:
    """Return the content of `prepare.json`.

    `sha256` of a split is that of its list of crops: equal lists give equal images. `duplicates` counts training
    pictures that are also in the test set, by their bytes (`equal`) or by perceptual hash (`near`); `copies` counts
    those that the selection left out. `same_names` lists names that differ only in case, which a case-insensitive file
    system would merge into one file.
    """
    counts = {split: Counts.of(writer) for split, writer in images.items()}
    same_names = selection.same_names if selection else []
    content: dict[str, Any] = {
        "source": manifest.source,
        **options.model_dump(include={"image_size", "filter", "crop", "test_crop", "background", "gray"}),
        "range": ranges.images,
        "classes": manifest.classes,
        "files": {"listed": bad.total, "bad": bad.count, "examples": bad.examples},
        "same_names": {"count": sum(map(len, same_names)), "names": same_names[:LISTED]},
        "duplicates": {
            "option": options.duplicates,
            "copies": selection.copies if selection else 0,
            **{kind: counts["train"].alike[kind] for kind in ("equal", "near")},
            "examples": counts["train"].examples,
        },
    }
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        content[split] = {
            "images": images[split].images,
            "per_class": {name: counts[split].labels[label] for label, name in enumerate(manifest.classes)},
            "converted": dict(sorted(counts[split].converted.items())),
            "sha256": counts[split].listing.hexdigest(),
        }
        if split in conditions:
            converted = Counts.of(conditions[split]).converted
            content[split]["conditions"] = {"converted": dict(sorted(converted.items()))}
    if conditions:
        content["conditions"] = {"filter": options.conditions.filter or options.filter, "range": ranges.conditions}
    return content


def losses(facts: Mapping[str, Any]) -> str:
    """Return the lossy conversions to 8-bit RGB with their counts from `prepare.json`: `transparency (3), CMYK (1)`."""
    stores = [store for split in ("train", "test") for store in (facts[split], facts[split].get("conditions", {}))]
    notes = sum((Counter(store.get("converted")) for store in stores), Counter[str]())
    return ", ".join(f"{note} ({count})" for note, count in notes.most_common() if note not in LOSSLESS)
