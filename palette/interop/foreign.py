"""Checkpoints that cannot be imported: what each kind is, and what to do instead."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

SR3_CODE = "SR3 (Image-Super-Resolution-via-Iterative-Refinement)"
OUR_OWN = "Train one here: task `super-resolution`, `backbone: sr3`"
IMPORTABLE = "Networks of the unofficial Palette code and of ADM can be imported."


def kind_of(content: Any) -> str | None:
    """Return what a checkpoint's content is and what to do with it; None if it may be a network's state dict."""
    if not isinstance(content, Mapping):
        return None
    keys = {str(key).removeprefix("module.") for key in content}
    if "pytorch-lightning_version" in keys:
        return f"a checkpoint of PyTorch Lightning. {_inside('state_dict')}"
    if keys & {"optimizer", "optimizers", "param_groups"} and not keys & {"state_dict", "model"}:
        return "the state of an optimizer, without weights. Name the file of the weights, which is saved beside it."
    for key in ("state_dict", "model_state_dict", "model", "ema", "net"):
        if isinstance(content.get(key), Mapping):
            return (
                f"a checkpoint with the weights under {key!r}, beside {len(content) - 1} other entries. {_inside(key)}"
            )
    return _network(keys)


def _inside(key: str) -> str:
    return (
        f"In the program that made it, save that part alone: `torch.save(checkpoint[{key!r}], 'weights.pth')`, and import the new "
        f"file. {IMPORTABLE}"
    )


def _network(keys: set[str]) -> str | None:
    if "denoise_fn.noise_level_mlp.1.weight" in keys and "betas" in keys:
        return f"a network of {SR3_CODE}, which takes the noise level as √γ. It cannot be imported. {OUR_OWN}."
    if {"conv_in.weight", "time_embedding.linear_1.weight"} <= keys:
        return f"a U-Net of diffusers, whose blocks differ from those here. {IMPORTABLE}"
    if "time_embed.0.weight" in keys and not any(key.startswith("output_blocks.") for key in keys):
        return "ADM's classifier of noisy images, which makes none. Name the diffusion model, `256x256_diffusion_uncond.pt`."
    return None


def kind_of_path(path: Path) -> str | None:
    """Return the same for a path that is not a file of `torch.save`: a folder of diffusers, a safetensors file."""
    if path.is_dir() and any((path / name).exists() for name in ("model_index.json", "unet", "scheduler_config.json")):
        return f"a pipeline of diffusers. {IMPORTABLE}"
    if path.suffix == ".safetensors":
        return (
            "a safetensors file. A model of this project needs no import: name its folder in `palette restore`, or the file in "
            f"`train.start_from`. {IMPORTABLE}"
        )
    return None
