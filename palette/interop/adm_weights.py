"""Import of ADM's released networks (Dhariwal & Nichol 2021: 256x256_diffusion_uncond.pt etc.) as a warm start.

They have no condition: its input channels get zero weights, so at the start the network is ADM whatever the condition
is. Their learned variance and their classes are dropped.
"""

from pathlib import Path

import torch
from torch import Tensor

from palette.config.models import Network, Objective
from palette.errors import DataError
from palette.interop.layouts import Layout, read_layout
from palette.interop.model_folder import Imported, facts_of
from palette.interop.pickles import read_pickle, state_dict
from palette.interop.tensors import IMAGE_CHANNELS, converted, names, targets
from palette.interop.upstream_weights import Wishes

STEM, LAST, TIME_BIAS, LABELS = "input_blocks.0.0.weight", "out.2", "time_embed.2.bias", "label_emb.weight"
HEAD_CHANNELS, IMAGE_SIZE = 64, 256


def is_adm_file(file: Path) -> bool:
    """Return whether the file is a state dict with guided-diffusion's tensor names."""
    content = read_pickle(file) if file.is_file() else None
    return isinstance(content, dict) and not {f"{prefix}time_embed.0.weight" for prefix in ("", "module.")}.isdisjoint(
        content
    )


def import_adm(file: Path, wishes: Wishes) -> Imported:
    """Convert an ADM checkpoint to our network. Raises DataError if it is not a complete network of that family."""
    tensors = state_dict(file)
    if "time_embed.0.weight" not in tensors:
        raise DataError(f"{file}: not a network of ADM: no time_embed.0.weight in it.")
    layout = read_layout(str(file), {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    dropped: dict[str, str] = {}
    head_channels, image_size = wishes.head_channels or HEAD_CHANNELS, wishes.image_size or IMAGE_SIZE
    notes = _adapt(tensors, layout, dropped, file)
    network = Network(
        channels=layout.channels,
        multipliers=layout.multipliers,
        blocks=layout.blocks,
        attention=tuple(image_size >> level for level, attends in enumerate(layout.attending) if attends),
        head_channels=head_channels,
        noise_embedding="timestep",
        groups=32,
    )
    shapes, attention_at = targets(network, image_size)
    mapping = names(layout, shapes, tensors, str(file))
    return Imported(
        network=network,
        objective=Objective(kind="epsilon", loss="l2"),
        mix={wishes.task: 1.0} if wishes.task else {},
        image_size=image_size,
        attention_at=attention_at,
        weights=converted(mapping, tensors, shapes, head_channels, str(file)),
        mapped={theirs: name for name, theirs in mapping.items()},
        dropped=dropped,
        origin={"format": "ADM (guided-diffusion)", "files": [facts_of(file)]},
        assumed=_assumed(wishes),
        notes=notes,
    )


def _assumed(wishes: Wishes) -> list[str]:
    assumed = ["the linear noise schedule of ADM's networks for 128 pixels and more, and attention ordered by head."]
    if wishes.head_channels is None:
        assumed.append(f"head_channels {HEAD_CHANNELS}, as in the networks for 256 pixels (--head-channels).")
    if wishes.image_size is None:
        assumed.append(f"image_size {IMAGE_SIZE} (--image-size).")
    return assumed


def _adapt(tensors: dict[str, Tensor], layout: Layout, dropped: dict[str, str], file: Path) -> list[str]:
    """Convert ADM's tensors in place: add a condition, drop classes and variance; return notes on the changes."""
    if layout.in_channels != IMAGE_CHANNELS or layout.out_channels not in (IMAGE_CHANNELS, 2 * IMAGE_CHANNELS):
        raise DataError(
            f"{file}: the network takes {layout.in_channels} channels and gives {layout.out_channels}; "
            f"ADM's take {IMAGE_CHANNELS} and give {IMAGE_CHANNELS} or {2 * IMAGE_CHANNELS}."
        )
    notes = ["The condition's input channels have zero weights: the network starts as ADM, whatever the condition."]
    stem = tensors[STEM].float()
    tensors[STEM] = torch.cat([torch.zeros_like(stem), stem], dim=1)  # the condition comes first
    if layout.out_channels > IMAGE_CHANNELS:
        for leaf in ("weight", "bias"):
            tensors[f"{LAST}.{leaf}"] = tensors[f"{LAST}.{leaf}"][:IMAGE_CHANNELS]
            dropped[f"{LAST}.{leaf}[{IMAGE_CHANNELS}:]"] = "the learned variance"
    if LABELS in tensors:
        labels = tensors.pop(LABELS).float()
        tensors[TIME_BIAS] = tensors[TIME_BIAS].float() + labels.mean(dim=0)
        dropped[LABELS] = f"classes; the mean of the {len(labels)} embeddings is added to {TIME_BIAS}"
        notes.append(f"Every image counts as of the mean of the {len(labels)} classes' embeddings.")
    return notes
