"""Import of ADM's released networks (Dhariwal & Nichol 2021: 256x256_diffusion_uncond.pt etc.) as a warm start.

They have no condition: its input channels get zero weights, so at the start the network is ADM whatever the condition
is. Their learned variance and their classes are dropped.
"""

from pathlib import Path

import torch
from torch import Tensor

from palette.config.models import Network
from palette.errors import DataError
from palette.interop.layouts import Converter, read_layout
from palette.interop.model_folder import Flags, Imported, decide, facts_of
from palette.interop.pickles import read_pickle, state_dict

STEM, LAST, TIME_BIAS, LABELS = "input_blocks.0.0.weight", "out.2", "time_embed.2.bias", "label_emb.weight"
IMAGE_CHANNELS = 3


def is_adm_file(file: Path) -> bool:
    """Return whether the file is a state dict with guided-diffusion's tensor names."""
    content = read_pickle(file) if file.is_file() else None
    names = {"time_embed.0.weight", "module.time_embed.0.weight"}
    return isinstance(content, dict) and not names.isdisjoint(content)


def import_adm(file: Path, flags: Flags) -> Imported:
    """Convert an ADM checkpoint to our network. Raises DataError if it is not a complete network of that family."""
    tensors = state_dict(file)
    if "time_embed.0.weight" not in tensors:
        raise DataError(f"{file}: not a network of ADM: no time_embed.0.weight in it.")
    layout = read_layout(file, tensors)
    dropped: dict[str, str] = {}
    notes = _adapt(tensors, dropped)
    assumed = ["the linear noise schedule of ADM's networks for 128 pixels and more, and attention ordered by head."]
    released = "as in the networks for 256 pixels"
    head_channels = decide("head_channels", flags.head_channels, 64, f"{released} (--head-channels)", assumed)
    image_size = decide("image_size", flags.image_size, 256, f"{released} (--image-size)", assumed)
    options = {"head_channels": head_channels, "noise_embedding": "timestep", "groups": 32}
    network = Network.model_validate(layout.options(image_size) | options)
    converter = Converter(layout, network, image_size)
    return Imported(
        network=network,
        mix={flags.task: 1.0} if flags.task else {},
        image_size=image_size,
        attention_at=converter.attention_at,
        weights=converter(tensors, file),
        record={
            "format": "ADM (guided-diffusion)",
            "files": [facts_of(file)],
            "mapped": {theirs: name for name, theirs in converter.names.items()},
            "dropped": dropped,
            "assumed": assumed,
            "notes": notes,
        },
    )


def _adapt(tensors: dict[str, Tensor], dropped: dict[str, str]) -> list[str]:
    """Convert ADM's tensors in place: add a condition, drop classes and variance; return notes on the changes."""
    notes = ["The condition's input channels have zero weights: the network starts as ADM, whatever the condition."]
    stem = tensors[STEM].float()
    tensors[STEM] = torch.cat([torch.zeros_like(stem), stem], dim=1)  # the condition comes first
    if len(tensors[f"{LAST}.bias"]) > IMAGE_CHANNELS:
        for leaf in ("weight", "bias"):
            tensors[f"{LAST}.{leaf}"] = tensors[f"{LAST}.{leaf}"][:IMAGE_CHANNELS]
            dropped[f"{LAST}.{leaf}[{IMAGE_CHANNELS}:]"] = "the learned variance"
    if LABELS in tensors:
        labels = tensors.pop(LABELS).float()
        tensors[TIME_BIAS] = tensors[TIME_BIAS].float() + labels.mean(dim=0)
        dropped[LABELS] = f"classes; the mean of the {len(labels)} embeddings is added to {TIME_BIAS}"
        notes.append(f"Every image counts as of the mean of the {len(labels)} classes' embeddings.")
    return notes
