"""Reading files of `torch.save` without running anything that is in them."""

import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from palette.errors import DataError, listed
from palette.interop.foreign import kind_of, kind_of_path

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
"""How the files of torch 1.6 and newer begin, and those before."""


def read_pickle(path: Path) -> Any:
    """What `torch.save` wrote: tensors on the CPU, and plain values.

    Raises DataError for a file that is missing, truncated, damaged or no checkpoint, and for one that wants to call
    anything while it is loaded; no such call is made.
    """
    try:
        if kind := kind_of_path(path):
            raise DataError(f"{path}: {kind}")
        if path.is_dir():
            raise DataError(f"{path}: a folder, not a file.")
        with path.open("rb") as file:
            _require_whole(path, file.read(4))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # which is refused, or is fine
            return torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: not readable ({error.strerror or error}).") from None
    except Exception as error:  # a damaged or hostile pickle can make its reader raise anything
        raise DataError(f"{path}: {_reason(error)}") from None


def _require_whole(path: Path, head: bytes) -> None:
    """Raise DataError for what cannot be a whole checkpoint. torch itself does not look at the checksums."""
    if not head:
        raise DataError(f"{path}: empty. Copy or download it again.")
    if not head.startswith((ZIP, PICKLE)):
        raise DataError(f"{path}: not a checkpoint: `torch.save` does not begin a file with {head!r}.")
    if head.startswith(ZIP):
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
            damaged = "its end"
        if damaged:
            raise DataError(f"{path}: truncated or damaged at {damaged}. Copy or download it again.")


def _reason(error: Exception) -> str:
    found = re.search(r"(?:GLOBAL|module) ([\w.]+)", str(error))
    if found:
        return (
            f"wants to load `{found[1]}`, which is neither a tensor nor a plain value, so it could run code here. Refused; "
            "nothing in it was run. A checkpoint of weights needs no such thing. If it is a whole model, save its weights in the "
            "program that made it: `torch.save(model.state_dict(), 'weights.pth')`."
        )
    if isinstance(error, EOFError) or "unexpected EOF" in str(error):
        return "truncated. Copy or download it again."
    said = re.search(r"Unsupported operand \d+", str(error))  # the rest of torch's text is advice to read it unsafely
    return (
        f"truncated, damaged or not a checkpoint of `torch.save` ({said[0] if said else type(error).__name__}). Copy or download "
        "it again; a plain pickle is not taken."
    )


def state_dict(path: Path) -> dict[str, Tensor]:
    """A file that is one flat mapping of names to tensors, in its order; `module.` of DistributedDataParallel is taken off."""
    content = read_pickle(path)
    if kind := kind_of(content):
        raise DataError(f"{path}: {kind}")
    if not isinstance(content, Mapping) or not content:
        raise DataError(f"{path}: not a state dict: holds {type(content).__name__}, not names with tensors.")
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise DataError(
            f"{path}: not a state dict: {listed(others)} {'is no tensor' if len(others) == 1 else 'are no tensors'}."
        )
    wrapped = all(name.startswith("module.") for name in content)
    return {name.removeprefix("module.") if wrapped else name: tensor for name, tensor in content.items()}
