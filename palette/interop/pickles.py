"""Safe reading of `torch.save` files, without running any code in them."""

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
"""First bytes of files from torch 1.6 and newer, and of older ones."""


def read_pickle(path: Path) -> Any:
    """Read a `torch.save` file: tensors, on the CPU, and plain values.

    Raises DataError for a file that is missing, truncated, damaged or not a checkpoint, and for one that tries to call
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
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # such a file is rejected anyway, or is fine
            return torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: not readable ({error.strerror or error}).") from None
    except Exception as error:  # a damaged or hostile pickle can make its reader raise anything
        raise DataError(f"{path}: {_reason(error)}") from None


def _require_whole(path: Path, head: bytes) -> None:
    """Raise DataError for a file that is not a complete checkpoint. torch itself does not verify the checksums."""
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
    said = re.search(r"Unsupported operand \d+", str(error))  # the rest of the message advises unsafe loading
    return (
        f"truncated, damaged or not a checkpoint of `torch.save` ({said[0] if said else type(error).__name__}). Copy or download "
        "it again; a plain pickle is not taken."
    )


def state_dict(path: Path) -> dict[str, Tensor]:
    """Read a file that is a flat mapping of names to tensors, in its order.

    The prefix `module.` of DistributedDataParallel is removed. Raises DataError for anything else.
    """
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
