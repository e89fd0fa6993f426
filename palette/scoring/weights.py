"""Pretrained weights: which files are known, where they come from, where they are looked for. Imports no torch, so that a plan is quick."""

import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from palette.errors import ConfigError, DataError
from palette.files import replacing, sha256
from palette.progress import Progress

VARIABLE = "PALETTE_WEIGHTS"
"""Environment variable that names the folder of weights."""
CHUNK = 1 << 20


@dataclass(frozen=True)
class Weights:
    """A file of pretrained weights."""

    file: str
    url: str
    sha256: str
    about: str
    """What it is and what it is for."""


WEIGHTS: dict[str, Weights] = {
    "inception": Weights(
        file="inception-2015-12-05.pt",
        url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
        sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
        about="the Inception network of 2015, for FID, KID and the Inception Score",
    ),
}
"""Name of the extractor → its file. About 91 MiB; license of the file: Apache 2.0 (TensorFlow's release)."""


def folder_of(folder: Path | None) -> Path | None:
    """The folder of weights: the given one, else that of the environment variable, else None."""
    named = os.environ.get(VARIABLE)
    return folder or (Path(named) if named else None)


def locate(folder: Path | None, name: str, download: bool = False) -> Path:
    """The path of the weights file of extractor `name`.

    folder: where to look; None means the environment variable PALETTE_WEIGHTS. download: fetch a missing file from its authors.
    Only looks whether the file is there: `verify` reads it. Raises ConfigError naming file, URL, folder and variable.
    """
    weights, folder = WEIGHTS[name], folder_of(folder)
    if folder is None:
        raise ConfigError(missing(weights, "no folder of weights is named"))
    path = folder / weights.file
    if path.is_file():
        return path
    if not download:
        raise ConfigError(missing(weights, f"{path} does not exist"))
    _download(weights, path)
    return path


def missing(weights: Weights, problem: str) -> str:
    """The text for a user who lacks a file: what, where from, where to."""
    return (
        f"extractor weights: {problem}. Needed: {weights.file} ({weights.about}).\n"
        f"  Get it from {weights.url}\n"
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


def _download(weights: Weights, path: Path) -> None:
    """Fetch into a temporary name, check, rename: a broken download is never mistaken for the file."""
    try:
        with replacing(path) as temporary, urllib.request.urlopen(weights.url, timeout=60) as source:
            _save(source, temporary, int(source.headers.get("Content-Length") or 0), weights.file)
            verify(temporary, weights.sha256)
    except (OSError, urllib.error.URLError) as error:
        raise ConfigError(missing(weights, f"the download failed ({error})")) from None


def _save(source: BinaryIO, path: Path, size: int, label: str) -> None:
    """Copy to `path`; `size` in bytes is for the progress only."""
    progress = Progress(f"download {label}", size, "bytes")
    with path.open("wb") as file:
        while chunk := source.read(CHUNK):
            file.write(chunk)
            progress.advance(len(chunk))
