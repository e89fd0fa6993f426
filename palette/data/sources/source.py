"""Interface of a source: what a file of `palette/data/sources/readers/` declares."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palette.config.datasets import DataFile, Fetch, Split
from palette.data.sources.manifest import Entry

if TYPE_CHECKING:
    from palette.stages.fetch import FetchSpec
    from palette.stages.stage import Stage

    FetchStage = Stage[FetchSpec]
else:
    FetchStage = Any


@dataclass(frozen=True)
class Listing:
    """Files of a source, before any of them is read.

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


@dataclass(frozen=True)
class Survey:
    """Facts about a dataset before it is fetched.

    digest: changes with a user's files; None where checksums identify the dataset, or where there are no files yet.
    classes: sorted class names; None if they are unknown. pictures: upper estimate of the number of training images.
    splits: number of images in each split that the config names, where known. advice: hint about files that contain
    images in an unsupported form. short: incomplete unpacked copies of published datasets: path → what is wrong.
    """

    digest: str | None = None
    classes: list[str] | None = None
    pictures: int | None = None
    splits: Mapping[Split, int] = field(default_factory=dict)
    advice: str = ""
    short: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Source of images: `fetch.source` names it if it is `own`, and a published dataset's `reader` if `published`."""

    list_files: Callable[[FetchStage], Listing]
    published: bool = False
    own: bool = False
    takes: tuple[str, ...] = ()
    """Options of `fetch`, besides `source`, that have a meaning for an `own` source."""
    needs: tuple[tuple[str, ...], ...] = ()
    """Groups of these options of which at least one must be given."""
    survey: Callable[[str, Fetch], Survey] = lambda dataset, fetch: Survey()
    """Name of the dataset, its options → facts that planning needs; for `own` sources."""
    images: int = 0
    """Number of images that fetching reads, if it is always the same."""
    files_per_image: int = 1
    names_classes: bool = False
    """Whether only the names of a published dataset's classes, known once it is fetched, tell what can measure it."""
    needed: Callable[[Sequence[DataFile], Path], Sequence[DataFile]] = lambda files, folder: files
    """A published dataset's files, their folder → the files that nothing in the folder replaces."""
    trees: Callable[[Path], Mapping[Split | None, Path]] = lambda folder: {}
    """Folder → unpacked copies of archives in it, by split; the key None stands for all splits."""
    lists: Callable[[Path], Sequence[Path]] = lambda folder: []
    """Folder → lists in it that replace other files."""
    count: Callable[[Path], int | None] = lambda folder: None
    """Folder or archive of a dataset without known files → number of its images; None if unknown."""
