"""Files of pretrained weights: their folder, their source, their check. Imports no torch, so that planning is fast."""

import os
from dataclasses import dataclass
from pathlib import Path

from palette.errors import ConfigError, DataError
from palette.system.download import Remote, download
from palette.system.files import sha256

VARIABLE = "PALETTE_WEIGHTS"
"""Environment variable with the folder of weights."""


@dataclass(frozen=True)
class Weights:
    """A file of pretrained weights."""

    file: str
    url: str
    sha256: str
    about: str
    """Description and purpose."""


def locate(weights: Weights, folder: Path | None, download: bool = False) -> Path:
    """Return the path of a file of weights: where it is, or with `download` where it will be.

    folder: where to look; None means the environment variable PALETTE_WEIGHTS. Only checks if the file exists: `verify`
    reads it, `fetch` downloads it. Raises ConfigError naming file, URL, hash, folder and variable.
    """
    variable = os.environ.get(VARIABLE)
    folder = folder or (Path(variable) if variable else None)
    if folder is None:
        raise ConfigError(missing(weights, "no folder of weights is named"))
    path = folder.expanduser().absolute() / weights.file
    if not path.is_file() and not download:
        raise ConfigError(missing(weights, f"{path} does not exist"))
    return path


def missing(weights: Weights, problem: str) -> str:
    """Return the message for a user who lacks a file: which file, where to get it, where to put it."""
    return (
        f"extractor weights: {problem}. Needed: {weights.file} ({weights.about}).\n"
        f"  Get it from {weights.url}\n"
        f"  (SHA-256 {weights.sha256})\n"
        f"  and put it into a folder that `score.weights` in the config or the environment variable {VARIABLE} names;\n"
        f"  or set `score.download: true`. Without it, `score.extractors: [photos]` needs no file."
    )


def verify(path: Path, expected: str) -> None:
    """Raise DataError unless the SHA-256 of the file is `expected`."""
    found = sha256(path)
    if found != expected:
        raise DataError(
            f"{path}: not the known file (sha256 {found}, expected {expected}). Delete it and get it again."
        )


def fetch(weights: Weights, path: Path) -> None:
    """Download a file of weights to `path`, unless it exists; jobs that need the same file wait for each other.

    The download is verified under another name and then renamed: an incomplete one is never mistaken for the file.
    Raises DataError.
    """
    about = missing(weights, "the download failed")
    download(Remote(weights.file, (weights.url,), sha256=weights.sha256, about=about), path)
