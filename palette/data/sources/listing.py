"""What every source gives: a list of the files that should be pictures, before any of them is looked at."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palette.data.sources.manifest import Entry


@dataclass(frozen=True)
class Listing:
    """The files of a source.

    containers: folders and archives; relative ones lie in the stage's folder. entries: for each file `file`, `class` and where
    its bytes are, as in a manifest but without `sha256` and `size`; or `file` and `reason`, if its name alone rules it out.
    facts: what else the manifest's header says. total: number of entries for the progress, 0 if it is not known yet.
    """

    source: str
    containers: Sequence[Path]
    entries: Iterable[Entry]
    facts: Mapping[str, Any] = field(default_factory=dict)
    total: int = 0
