"""U-Nets of other code: their layout, inferred from tensor shapes, and the conversion of their tensors to ours.

There are three families of checkpoints: `guided_diffusion` and `sr3`, the two backbones of the unofficial code, and
`adm`, ADM's own, which differ from the first in one name.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from palette.config.models import Network
from palette.errors import DataError, listed
from palette.model.blocks import head_count
from palette.model.finite import require_finite
from palette.model.networks import build

# ------------------------------------------------------------------------------------------------- names

CHANNELS = {"sr3": [(6, 3)], "guided_diffusion": [(6, 3)], "adm": [(3, 3), (3, 6)]}
"""Family → channels that its networks take and give: a condition and an image; ADM's an image, and perhaps variances."""
ENDS = {
    "embed.1": ("cond_embed.0", "noise_level_mlp.1"),
    "embed.3": ("cond_embed.2", "noise_level_mlp.3"),
    "first": ("input_blocks.0.0", "downs.0"),
    "last.0": ("out.0", "final_conv.block.0"),
    "last.2": ("out.2", "final_conv.block.3"),
}
"""Our module outside of the blocks → its name in guided_diffusion and in sr3."""
PARTS = {
    "residual.norm1": ("in_layers.0", "res_block.block1.block.0"),
    "residual.conv1": ("in_layers.2", "res_block.block1.block.3"),
    "residual.modulation": ("emb_layers.1", "res_block.noise_func.noise_func.0"),
    "residual.norm2": ("out_layers.0", "res_block.block2.block.0"),
    "residual.conv2": ("out_layers.3", "res_block.block2.block.3"),
    "residual.skip": ("skip_connection", "res_block.res_conv"),
    "attention.norm": ("norm", "attn.norm"),
    "attention.qkv": ("qkv", "attn.qkv"),
    "attention.out": ("proj_out", "attn.out"),
    "conv": ("", "conv"),
}
"""Our module in a block → its name in a block of guided_diffusion and of sr3."""


def their_name(family: str, ours: str, blocks: int = 0, attending: Sequence[bool] = ()) -> str:
    """Return the name in the file for a tensor of our network: `first.weight` → `input_blocks.0.0.weight`.

    blocks, attending: as in `Layout`; only names in the decoder depend on them.
    """
    module, _, leaf = ours.rpartition(".")
    is_sr3 = family == "sr3"
    if module in ENDS:
        end = ENDS[module][is_sr3]
        return f"{end.replace('cond_embed', 'time_embed') if family == 'adm' else end}.{leaf}"
    place, index, part = module.split(".", 2)
    number, position = int(index), 0
    if place == "decoder":
        child, part = part.split(".", 1)
        position = int(child)
    attention, level = part.startswith("attention"), number // (blocks + 1)
    if is_sr3:
        names = {
            "encoder": f"downs.{number + 1}",
            "middle": f"mid.{number}",
            "decoder": f"ups.{number + level + position}",
        }
    else:  # attention has a number of its own after its residual block, and a change of resolution comes after both
        after = attention + (place == "decoder" and position == 1 and attending[-1 - level])
        names = {
            "encoder": f"input_blocks.{number + 1}.{int(attention)}",
            "middle": f"middle_block.{2 * number + attention}",
            "decoder": f"output_blocks.{number}.{position + after}",
        }
    return f"{names[place]}.{PARTS[part][is_sr3]}.{leaf}"


# ------------------------------------------------------------------------------------------------ layout


@dataclass(frozen=True)
class Layout:
    """Network architecture inferred from tensor shapes."""

    family: str
    """`guided_diffusion`, `sr3` or `adm`."""
    channels: int
    multipliers: list[int]
    blocks: int
    attending: list[bool]
    """For each level, finest first: whether its blocks are followed by attention."""
    seen: Mapping[str, str]
    """For each of `options` but the backbone, the tensors that determine it, with their shapes."""

    def options(self, image_size: int) -> dict[str, Any]:
        """Return the options of our `Network` that the layout determines."""
        return {
            "backbone": "sr3" if self.family == "sr3" else "adm",
            "channels": self.channels,
            "multipliers": self.multipliers,
            "blocks": self.blocks,
            "attention": [image_size >> level for level, attends in enumerate(self.attending) if attends],
        }


@dataclass(frozen=True)
class Shapes:
    """Shapes of the weights in a file, looked up by our module names."""

    file: Path
    family: str
    tensors: Mapping[str, Tensor]

    def of(self, module: str) -> torch.Size:
        key = their_name(self.family, f"{module}.weight")
        if key not in self.tensors:
            raise self.error(f"not a whole network: {key} is missing.")
        return self.tensors[key].shape

    def described(self, *modules: str) -> str:
        """Return names in the file and shapes for messages: `input_blocks.0.0.weight [64, 6, 3, 3]`."""
        keys = [their_name(self.family, f"{module}.weight") for module in modules]
        shapes = {key: list(self.tensors[key].shape) for key in keys if key in self.tensors}
        return ", ".join(f"{key} {shapes[key]}" if key in shapes else f"no {key}" for key in keys)

    def count(self, pattern: str) -> int:
        """Return how many different numbers the group of `pattern` matches in all names in the file."""
        matches = (re.match(pattern, key) for key in self.tensors)
        return len({match[1] for match in matches if match})

    def error(self, text: str) -> DataError:
        return DataError(f"{self.file}: {text}")


def read_layout(file: Path, tensors: Mapping[str, Tensor]) -> Layout:
    """Return the layout of a U-Net from the shapes of its tensors.

    Raises DataError for an unknown or incomplete network, and for variants that have no counterpart here.
    """
    family = next((family for family in CHANNELS if their_name(family, "embed.1.weight") in tensors), None)
    if family is None:
        embeddings = " or ".join(their_name(family, "embed.1.weight") for family in CHANNELS)
        known = f"known here ({', '.join(CHANNELS)}): no {embeddings}"
        raise DataError(f"{file}: of none of the networks that are {known} among {listed(list(tensors), 5)}.")
    shapes = Shapes(file, family, tensors)
    if family != "sr3":
        _refuse_variants(shapes)
    channels = shapes.of("embed.1")[1]
    levels, blocks, decoder = _depth(shapes)
    first = [f"encoder.{level * (blocks + 1)}" for level in range(levels)]
    outer, qkv = [f"{block}.residual.conv1" for block in first], [f"{block}.attention.qkv" for block in first]
    for block in outer:
        if shapes.of(block)[0] % channels:
            fault = f"{shapes.of(block)[0]} channels are no whole multiple of {channels}"
            raise shapes.error(f"{shapes.described(block)}: {fault}. Not supported.")
    c_in, c_out = shapes.of("first")[1], shapes.of("last.2")[0]
    if (c_in, c_out) not in CHANNELS[family]:
        fault = f"the network takes {c_in} channels and gives {c_out} ({shapes.described('first', 'last.2')})"
        supported = " or ".join(f"{c_in} → {c_out}" for c_in, c_out in CHANNELS[family])
        raise shapes.error(f"{fault}; those of {family} that can be imported: {supported}.")
    return Layout(
        family=family,
        channels=channels,
        multipliers=[shapes.of(block)[0] // channels for block in outer],
        blocks=blocks,
        attending=[their_name(family, f"{block}.weight") in tensors for block in qkv],
        seen={
            "channels": shapes.described("embed.1"),
            "multipliers": shapes.described(*outer),
            "blocks": decoder,
            "attention": shapes.described(*qkv),
        },
    )


def _depth(shapes: Shapes) -> tuple[int, int, str]:
    """Return the numbers of levels and of blocks in each, and a text on how they were found: in the decoder."""
    if shapes.family == "sr3":
        where, block, upward = "residual blocks in `ups`", r"ups\.(\d+)\.res_block\.", r"ups\.(\d+)\.conv\."
    else:
        where, block, upward = "output_blocks", r"output_blocks\.(\d+)\.", r"output_blocks\.(\d+)\.[12]\.in_layers\.2\."
    entries, levels = shapes.count(block), 1 + shapes.count(upward)
    if not entries or entries % levels or entries == levels:
        raise shapes.error(f"not a whole network: {entries} {where} do not make {levels} levels.")
    return levels, entries // levels - 1, f"{entries} {where} in {levels} levels"


def _refuse_variants(shapes: Shapes) -> None:
    """Raise DataError for options of guided_diffusion that have no counterpart here."""
    channels, first = shapes.of("embed.1")[1], "encoder.0.residual"
    fault = ""
    if shapes.count(r"(output_blocks\.\d+\.\d+\.conv|input_blocks\.\d+\.0\.op)\."):
        fault = "trained with `resblock_updown: false` (plain convolutions change the resolution)"
    elif shapes.of(f"{first}.modulation")[0] != 2 * shapes.of(f"{first}.conv1")[0]:
        fault = f"{shapes.described(f'{first}.modulation')}: trained with `use_scale_shift_norm: false`"
    elif shapes.of("first")[0] != channels:
        fault = f"{shapes.described('first')}, but `inner_channel` is {channels}: the first `channel_mults` must be 1"
    if fault:
        raise shapes.error(f"{fault}. Not supported.")


# -------------------------------------------------------------------------------------------- conversion


class Converter:
    """Converter of the tensors of one layout to those of our network that computes the same.

    heads_first: whether the rows of attention's first projection are ordered by head, then q, k, v, in the file; here
    they are ordered by q, k, v, then head.
    """

    def __init__(self, layout: Layout, network: Network, image_size: int, heads_first: bool = True) -> None:
        with torch.device("meta"):
            ours = build(network, image_size)
        self.layout, self.attention_at = layout, ours.attention_at
        self.head_channels = network.head_channels if heads_first else None
        self.shapes = {name: tuple(parameter.shape) for name, parameter in ours.named_parameters()}
        self.names = {name: their_name(layout.family, name, layout.blocks, layout.attending) for name in self.shapes}
        """Our name → theirs."""

    def __call__(self, tensors: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
        """Return our name → float32 tensor, for weights or for Adam's moments of them.

        Raises DataError for unknown and missing names, for shapes that do not fit, and for values that are not finite.
        """
        expected = set(self.names.values())
        unknown, missing = [key for key in tensors if key not in expected], sorted(expected - tensors.keys())
        faults = [f"{what}: {listed(keys)}" for what, keys in (("unknown", unknown), ("missing", missing)) if keys]
        if faults:
            layout = self.layout
            sizes = f"{layout.channels} channels, multipliers {layout.multipliers} and {layout.blocks} blocks"
            fault = f"does not fit a {layout.family} network with {sizes} ({'; '.join(faults)})"
            raise DataError(f"{file}: {fault}. Nothing was imported.")
        require_finite(((key, tensors[key]) for key in self.names.values()), file)
        return {name: self._converted(name, tensors[key], file) for name, key in self.names.items()}

    def _converted(self, name: str, theirs: Tensor, file: Path) -> Tensor:
        tensor = theirs.detach().float()
        if ".attention." in name and name.endswith(".weight") and tensor.ndim == 3:  # Conv1d there, Conv2d here
            tensor = tensor.unsqueeze(-1)
        if tuple(tensor.shape) != self.shapes[name]:
            fault = f"{self.names[name]} is {list(theirs.shape)}, but the other tensors imply a network where it is"
            raise DataError(f"{file}: {fault} {list(self.shapes[name])}. Nothing was imported.")
        if ".attention.qkv." in name and self.head_channels is not None:
            heads = head_count(len(tensor) // 3, self.head_channels)
            tensor = tensor.reshape(heads, 3, -1, *tensor.shape[1:]).transpose(0, 1).reshape(tensor.shape)
        return tensor.contiguous()
