"""Problems found among a dataset's files: bad files and duplicates."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from palette.data.images.pictures import FORMATS
from palette.data.sources.manifest import Entry, Manifest

SHOWN = 5
"""Examples of each kind."""


@dataclass
class Noticed:
    """Files with one kind of problem: its description, their number, and the first of them."""

    what: str
    count: int = 0
    examples: list[str] = field(default_factory=list)


def noticed(manifest: Manifest, facts: Mapping[str, Any]) -> list[Noticed]:
    """Return the bad files and duplicates in a dataset's manifest and in `facts`, the content of its `prepare.json`."""
    return [*left_out(manifest.rejected()), *_damaged_later(manifest, facts["files"]), *_twice(facts)]


def left_out(rejected: Iterable[Entry]) -> list[Noticed]:
    """Return the files that `fetch` left out, grouped by reason, the most frequent first."""
    kinds: dict[str, Noticed] = {}
    for entry in rejected:
        reason, _, detail = entry["reason"].partition(" (")
        kind = kinds.setdefault(reason, Noticed(f"left out: {reason}"))
        kind.count += 1
        if len(kind.examples) < SHOWN:
            kind.examples.append(f"{entry['file']} ({detail}" if detail else entry["file"])
    return sorted(kinds.values(), key=lambda kind: -kind.count)


def _damaged_later(manifest: Manifest, files: Mapping[str, Any]) -> Iterator[Noticed]:
    """Yield the bad files of `prepare` beyond those of `fetch`, which `prepare` counts first."""
    before = sum(entry["file"].lower().endswith(FORMATS) for entry in manifest.rejected())
    if files["bad"] > before:
        later = files["examples"][before : before + SHOWN]
        examples = [f"{entry['file']}: {entry['reason']}" for entry in later]
        yield Noticed("left out: damaged since they were fetched", files["bad"] - before, examples)


def _twice(facts: Mapping[str, Any]) -> Iterator[Noticed]:
    """Yield duplicates between training and test images, and names that differ only in case."""
    found, names = facts["duplicates"], facts["same_names"]
    fate = "left out of training" if found["option"] == "drop" else "kept in training"
    yield from some(f"equal to a test image: {fate}", found["equal"], _pairs(found["examples"], equal=True))
    yield from some(f"similar to a test image: {fate}", found["near"], _pairs(found["examples"], equal=False))
    yield from some("copies of a test image: left out of training", found["copies"], [])
    yield from some("names that differ in case only: all kept", names["count"], map(", ".join, names["names"]))


def some(what: str, count: int, examples: Iterable[str]) -> Iterator[Noticed]:
    """Yield one entry if `count` is not 0."""
    if count:
        yield Noticed(what, count, list(islice(examples, SHOWN)))


def _pairs(examples: Sequence[Mapping[str, Any]], equal: bool) -> Iterator[str]:
    for pair in examples:
        if pair["equal"] == equal:
            differ = "" if equal else f", {pair['bits']} bits of 64 differ"
            yield f"{pair['train']} (test image {pair['test']}{differ})"
