"""Problems found among a dataset's files: bad files and duplicates."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from palette.data.images.pictures import FORMATS
from palette.data.sources.manifest import Entry, Manifest

EXAMPLES = 5
"""Maximum number of examples of each kind."""


@dataclass
class Problem:
    """One kind of problem: its description, the number of files with it, and the first of them."""

    what: str
    count: int = 0
    examples: list[str] = field(default_factory=list)


def file_problems(manifest: Manifest, facts: Mapping[str, Any]) -> list[Problem]:
    """Return the bad files and duplicates in a dataset's manifest and in `facts`, the content of its `prepare.json`."""
    found = [*_left_out(manifest.rejected()), *_damaged_later(manifest, facts["files"]), *_duplicates(facts)]
    return [problem for problem in found if problem.count]


def _left_out(rejected: Iterable[Entry]) -> list[Problem]:
    """Return the files that `fetch` left out, grouped by reason, the most frequent first."""
    problems: dict[str, Problem] = {}
    for entry in rejected:
        reason, _, detail = entry["reason"].partition(" (")
        problem = problems.setdefault(reason, Problem(f"left out: {reason}"))
        problem.count += 1
        if len(problem.examples) < EXAMPLES:
            problem.examples.append(f"{entry['file']} ({detail}" if detail else entry["file"])
    return sorted(problems.values(), key=lambda problem: -problem.count)


def _damaged_later(manifest: Manifest, files: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the bad files of `prepare` beyond those of `fetch`, which `prepare` counts first."""
    before = sum(entry["file"].lower().endswith(FORMATS) for entry in manifest.rejected())
    later = files["examples"][before : before + EXAMPLES]
    examples = [f"{entry['file']}: {entry['reason']}" for entry in later]
    yield Problem("left out: damaged since they were fetched", max(0, files["bad"] - before), examples)


def _duplicates(facts: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield duplicates between training and test images, and names that differ only in case."""
    found, names = facts["duplicates"], facts["same_names"]
    fate = "left out of training" if found["option"] == "drop" else "kept in training"
    yield Problem(f"equal to a test image: {fate}", found["equal"], _pairs(found["examples"], equal=True))
    yield Problem(f"similar to a test image: {fate}", found["near"], _pairs(found["examples"], equal=False))
    yield Problem("copies of a test image: left out of training", found["copies"])
    examples = list(map(", ".join, names["names"][:EXAMPLES]))
    yield Problem("names that differ in case only: all kept", names["count"], examples)


def _pairs(examples: Sequence[Mapping[str, Any]], equal: bool) -> list[str]:
    texts = []
    for pair in (pair for pair in examples if pair["equal"] == equal):
        differ = "" if equal else f", {pair['bits']} bits of 64 differ"
        texts.append(f"{pair['train']} (test image {pair['test']}{differ})")
    return texts[:EXAMPLES]
