"""Safe reading of `torch.save` files, without running any code in them; those of other programs are called by name."""

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
from palette.interop.upstream_json import SR3_ADVICE, SR3_CODE

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
"""First bytes of files from torch 1.6 and newer, and of older ones."""
IMPORTABLE = "Networks of the unofficial Palette code and of ADM can be imported."


def read_pickle(path: Path) -> Any:
    """Read a `torch.save` file: tensors, on the CPU, and plain values.

    Raises DataError for a file that is missing, truncated, damaged or not a checkpoint, and for one that tries to call
    anything while it is loaded; no such call is made.
    """
    try:
        refuse_other_formats(path)
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


def refuse_other_formats(path: Path) -> None:
    """Raise DataError for a folder of diffusers and a safetensors file, with what to do instead."""
    if path.is_dir() and any((path / name).exists() for name in ("model_index.json", "unet", "scheduler_config.json")):
        raise DataError(f"{path}: a pipeline of diffusers. {IMPORTABLE}")
    if path.suffix == ".safetensors":
        raise DataError(
            f"{path}: a safetensors file. A model of this project needs no import: name its folder in `palette restore`, "
            f"or the file in `train.start_from`. {IMPORTABLE}"
        )


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
    forbidden = re.search(r"(?:GLOBAL|module) ([\w.]+)", str(error))
    if forbidden:
        return (
            f"wants to load `{forbidden[1]}`, which is neither a tensor nor a plain value, so it could run code here. "
            "Refused; nothing in it was run. A checkpoint of weights needs no such thing. If it is a whole model, save its "
            "weights in the program that made it: `torch.save(model.state_dict(), 'weights.pth')`."
        )
    kind = type(error).__name__  # not its message, which advises unsafe loading
    advice = "Copy or download it again; a plain pickle is not taken."
    return f"truncated, damaged or not a checkpoint of `torch.save` ({kind}). {advice}"


def state_dict(path: Path) -> dict[str, Tensor]:
    """Read a file that is a flat mapping of names to tensors, in its order.

    The prefix `module.` of DistributedDataParallel is removed. Raises DataError for anything else.
    """
    content = read_pickle(path)
    if not isinstance(content, Mapping) or not content:
        raise DataError(f"{path}: not a state dict: holds {type(content).__name__}, not names with tensors.")
    if kind := _kind_of(content):
        raise DataError(f"{path}: {kind}")
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        verb = "is no tensor" if len(others) == 1 else "are no tensors"
        raise DataError(f"{path}: not a state dict: {listed(others)} {verb}.")
    wrapped = all(name.startswith("module.") for name in content)
    return {name.removeprefix("module.") if wrapped else name: tensor for name, tensor in content.items()}


def _kind_of(content: Mapping[Any, Any]) -> str | None:
    """Return what a checkpoint of another kind is and what to do with it; None if it may be a network's state dict."""
    names = {str(name).removeprefix("module.") for name in content}
    if "pytorch-lightning_version" in names:
        return f"a checkpoint of PyTorch Lightning. {_advice('state_dict')}"
    if names & {"optimizer", "optimizers", "param_groups"} and not names & {"state_dict", "model"}:
        return "the state of an optimizer, without weights. Name the file of the weights, which is saved beside it."
    for key in ("state_dict", "model_state_dict", "model", "ema", "net"):
        if isinstance(content.get(key), Mapping):
            others = len(content) - 1
            return f"a checkpoint with the weights under {key!r}, beside {others} other entries. {_advice(key)}"
    if {"denoise_fn.noise_level_mlp.1.weight", "betas"} <= names:
        return f"a network of {SR3_CODE}, which takes the noise level as √γ. {SR3_ADVICE}"
    if {"conv_in.weight", "time_embedding.linear_1.weight"} <= names:
        return f"a U-Net of diffusers, whose blocks differ from those here. {IMPORTABLE}"
    if "time_embed.0.weight" in names and not any(name.startswith("output_blocks.") for name in names):
        return "ADM's classifier of noisy images, which makes none. Name the diffusion model, `256x256_diffusion_uncond.pt`."
    return None


def _advice(key: str) -> str:
    command = f"`torch.save(checkpoint[{key!r}], 'weights.pth')`"
    return f"In the program that made it, save that part alone: {command}, and import the new file. {IMPORTABLE}"
