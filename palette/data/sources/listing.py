"""Common output of all sources: a list of candidate image files, before any of them is read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palette.data.sources.manifest import Entry


@dataclass(frozen=True)
class Listing:
    """Files of a source.

    containers: folders and archives; relative paths are relative to the stage's folder. entries: for each file, `file`,
    `class` and the location of its bytes, as in a manifest but without `sha256` and `size`; or `file` and `reason`, if
    its name alone rules it out. facts: further fields of the manifest's header. total: number of entries, for the
    progress; 0 if unknown.
    """

    source: str
    containers: Sequence[Path]
    entries: Iterable[Entry]
    facts: Mapping[str, Any] = field(default_factory=dict)
    total: int = 0
