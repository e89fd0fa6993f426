"""What was noticed among a dataset's files: those that are bad, and those that are there twice."""

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
    """Files of one kind: what they are, how many, and the first of them."""

    what: str
    count: int = 0
    examples: list[str] = field(default_factory=list)


def noticed(manifest: Manifest, facts: Mapping[str, Any]) -> list[Noticed]:
    """What a dataset's manifest and `facts`, the content of its `prepare.json`, tell of bad files and duplicates."""
    return [*left_out(manifest.rejected()), *_damaged_later(manifest, facts["files"]), *_twice(facts)]


def left_out(rejected: Iterable[Entry]) -> list[Noticed]:
    """The files that `fetch` left out, by their reasons: the most frequent first."""
    kinds: dict[str, Noticed] = {}
    for entry in rejected:
        reason, _, detail = entry["reason"].partition(" (")
        kind = kinds.setdefault(reason, Noticed(f"left out: {reason}"))
        kind.count += 1
        if len(kind.examples) < SHOWN:
            kind.examples.append(f"{entry['file']} ({detail}" if detail else entry["file"])
    return sorted(kinds.values(), key=lambda kind: -kind.count)


def _damaged_later(manifest: Manifest, files: Mapping[str, Any]) -> Iterator[Noticed]:
    """The bad files of `prepare` beyond those of `fetch`, which it counts first."""
    before = sum(entry["file"].lower().endswith(FORMATS) for entry in manifest.rejected())
    if files["bad"] > before:
        later = files["examples"][before : before + SHOWN]
        examples = [f"{entry['file']}: {entry['reason']}" for entry in later]
        yield Noticed("left out: damaged since they were fetched", files["bad"] - before, examples)


def _twice(facts: Mapping[str, Any]) -> Iterator[Noticed]:
    """Duplicates between training and test, and names that differ in case only."""
    found, names = facts["duplicates"], facts["same_names"]
    fate = "left out of training" if found["option"] == "drop" else "kept in training"
    yield from some(f"equal to a test image: {fate}", found["equal"], _pairs(found["examples"], equal=True))
    yield from some(f"similar to a test image: {fate}", found["near"], _pairs(found["examples"], equal=False))
    yield from some("copies of a test image: left out of training", found["copies"], [])
    yield from some("names that differ in case only: all kept", names["count"], map(", ".join, names["names"]))


def some(what: str, count: int, examples: Iterable[str]) -> Iterator[Noticed]:
    """Nothing, or a line."""
    if count:
        yield Noticed(what, count, list(islice(examples, SHOWN)))


def _pairs(examples: Sequence[Mapping[str, Any]], equal: bool) -> Iterator[str]:
    for pair in examples:
        if pair["equal"] == equal:
            differ = "" if equal else f", {pair['bits']} bits of 64 differ"
            yield f"{pair['train']} (test image {pair['test']}{differ})"
