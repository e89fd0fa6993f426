"""U-Nets of other code: their layout, inferred from tensor shapes, and the conversion of their tensors to ours.

There are three families of checkpoints: `guided_diffusion` and `sr3`, the two backbones of the unofficial code, and
`adm`, ADM's own, which differ from the first in one name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from palette.config.models import Network
from palette.errors import DataError, listed
from palette.model.blocks import head_count
from palette.model.finite import require_finite
from palette.model.networks import build

IMAGE_CHANNELS, INPUT_CHANNELS = 3, 6

# ------------------------------------------------------------------------------------------------- names

FAMILIES = ("sr3", "guided_diffusion", "adm")
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
    if is_sr3:
        level = number // (blocks + 1)
        block = {
            "encoder": f"downs.{number + 1}",
            "middle": f"mid.{number}",
            "decoder": f"ups.{number + level + position}",
        }
        return f"{block[place]}.{PARTS[part][1]}.{leaf}"
    child = _guided_block(place, number, position, part.startswith("attention"), blocks, attending)
    return f"{child}.{PARTS[part][0]}.{leaf}"


def _guided_block(
    place: str, number: int, position: int, attention: bool, blocks: int, attending: Sequence[bool]
) -> str:
    """Return the name in guided_diffusion of a residual block or of the attention after it, which it counts apart."""
    if place == "encoder":
        return f"input_blocks.{number + 1}.{int(attention)}"
    if place == "middle":
        return f"middle_block.{2 * number + attention}"
    level = len(attending) - 1 - number // (blocks + 1)
    after_attention = position == 1 and attending[level]
    return f"output_blocks.{number}.{position + attention + after_attention}"


# ------------------------------------------------------------------------------------------------ layout


@dataclass(frozen=True)
class Layout:
    """Network architecture inferred from tensor shapes."""

    family: str
    """`guided_diffusion`, `sr3` or `adm`."""
    in_channels: int
    out_channels: int
    channels: int
    multipliers: tuple[int, ...]
    blocks: int
    attending: tuple[bool, ...]
    """For each level, finest first: whether its blocks are followed by attention."""
    seen: Mapping[str, str]
    """For each numeric field above and `attending`, the tensor that determines it, with its shape."""


class Shapes(dict[str, tuple[int, ...]]):
    """Name → shape of the tensors in `file`. A missing name raises DataError."""

    def __init__(self, file: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__(shapes)
        self.file = file

    def __missing__(self, key: str) -> tuple[int, ...]:
        raise self.error(f"not a whole network: {key} is missing.")

    def error(self, text: str) -> DataError:
        return DataError(f"{self.file}: {text}")

    def described(self, key: str) -> str:
        """Return a tensor's name and shape for messages: `input_blocks.0.0.weight [64, 6, 3, 3]`."""
        return f"{key} {list(self[key])}"

    def count(self, pattern: str) -> int:
        """Return how many different numbers the group of `pattern` matches in all tensor names."""
        return len({found[1] for key in self if (found := re.match(pattern, key))})


def read_layout(file: str, tensors: Mapping[str, tuple[int, ...]]) -> Layout:
    """Return the layout of a U-Net from the shapes of its tensors. file: for messages.

    Raises DataError for an unknown or incomplete network, and for variants that have no counterpart here.
    """
    shapes = Shapes(file, tensors)
    family = next((family for family in FAMILIES if their_name(family, "embed.1.weight") in shapes), None)
    if family is None:
        raise shapes.error(
            "of none of the networks that are known here (guided_diffusion, sr3, ADM): no cond_embed.0.weight, "
            f"noise_level_mlp.1.weight or time_embed.0.weight among {listed(list(shapes), 5)}."
        )
    if family != "sr3":
        _refuse_variants(shapes, family)
    embedding, stem, last = (their_name(family, f"{module}.weight") for module in ("embed.1", "first", "last.2"))
    levels, blocks, decoder = _depth(shapes, family)
    first = [f"encoder.{level * (blocks + 1)}" for level in range(levels)]
    outer = [their_name(family, f"{block}.residual.conv1.weight") for block in first]
    qkv = [their_name(family, f"{block}.attention.qkv.weight") for block in first]
    channels = shapes[embedding][1]
    for key in outer:
        if shapes[key][0] % channels:
            fault = f"{shapes[key][0]} channels are no whole multiple of {channels}. Not supported."
            raise shapes.error(f"{shapes.described(key)}: {fault}")
    return Layout(
        family,
        in_channels=shapes[stem][1],
        out_channels=shapes[last][0],
        channels=channels,
        multipliers=tuple(shapes[key][0] // channels for key in outer),
        blocks=blocks,
        attending=tuple(key in shapes for key in qkv),
        seen={
            "in_channels": shapes.described(stem),
            "out_channels": shapes.described(last),
            "channels": shapes.described(embedding),
            "multipliers": ", ".join(map(shapes.described, outer)),
            "blocks": decoder,
            "attending": ", ".join(shapes.described(key) if key in shapes else f"no {key}" for key in qkv),
        },
    )


def _depth(shapes: Shapes, family: str) -> tuple[int, int, str]:
    """Return the numbers of levels and of blocks in each, and a text on how they were found: from the decoder."""
    if family == "sr3":
        total, upward, where = r"ups\.(\d+)\.res_block\.", r"ups\.(\d+)\.conv\.weight", "residual blocks in `ups`"
    else:
        total, upward, where = (
            r"output_blocks\.(\d+)\.",
            r"output_blocks\.(\d+)\.[12]\.in_layers\.2\.weight",
            "output_blocks",
        )
    entries, levels = shapes.count(total), 1 + shapes.count(upward)
    if not entries or entries % levels or entries == levels:
        raise shapes.error(f"not a whole network: {entries} {where} do not make {levels} levels.")
    return levels, entries // levels - 1, f"{entries} {where} in {levels} levels"


def _refuse_variants(shapes: Shapes, family: str) -> None:
    """Raise DataError for options of guided_diffusion that have no counterpart here."""
    if any(re.match(r"(output_blocks\.\d+\.\d+\.conv|input_blocks\.\d+\.0\.op)\.", key) for key in shapes):
        raise shapes.error(
            "trained with `resblock_updown: false` (plain convolutions change the resolution). Not supported."
        )
    modulation, outer, embedding, stem = (
        their_name(family, f"{module}.weight")
        for module in ("encoder.0.residual.modulation", "encoder.0.residual.conv1", "embed.1", "first")
    )
    if shapes[modulation][0] != 2 * shapes[outer][0]:
        raise shapes.error(
            f"{shapes.described(modulation)}: trained with `use_scale_shift_norm: false`. Not supported."
        )
    if shapes[stem][0] != shapes[embedding][1]:
        raise shapes.error(
            f"{shapes.described(stem)}, but `inner_channel` is {shapes[embedding][1]}: a first `channel_mults` other than 1 is "
            "not supported."
        )


# -------------------------------------------------------------------------------------------- conversion


def network_of(layout: Layout, image_size: int, **options: Any) -> Network:
    """Return our options for a network of this layout. options: those that shapes do not determine."""
    return Network(
        backbone="sr3" if layout.family == "sr3" else "adm",
        channels=layout.channels,
        multipliers=layout.multipliers,
        blocks=layout.blocks,
        attention=tuple(image_size >> level for level, attends in enumerate(layout.attending) if attends),
        **options,
    )


class Converter:
    """Converter of the tensors of one layout to those of our network that computes the same.

    heads_first: whether the rows of attention's first projection are ordered by head, then q, k, v, in the file; here
    they are ordered by q, k, v, then head.
    """

    def __init__(self, layout: Layout, network: Network, image_size: int, heads_first: bool = True) -> None:
        with torch.device("meta"):
            ours = build(network, image_size, INPUT_CHANNELS, IMAGE_CHANNELS)
        self.layout, self.attention_at = layout, ours.attention_at
        self.head_channels = network.head_channels if heads_first else None
        self.shapes = {name: tuple(parameter.shape) for name, parameter in ours.named_parameters()}
        self.names = {name: their_name(layout.family, name, layout.blocks, layout.attending) for name in self.shapes}
        """Our name → theirs."""

    def __call__(self, tensors: Mapping[str, Tensor], file: str) -> dict[str, Tensor]:
        """Return our name → float32 tensor, for weights or for Adam's moments of them.

        Raises DataError for unknown and missing names, for a shape that does not fit, and for values that are not
        finite. file: for messages.
        """
        self.require_names(tensors, file)
        require_finite(((key, tensors[key]) for key in self.names.values()), file)
        return {name: self._converted(name, tensors[key], file) for name, key in self.names.items()}

    def require_names(self, tensors: Iterable[str], file: str) -> None:
        """Raise DataError that lists unknown and missing names, if there are any."""
        found, expected = list(tensors), set(self.names.values())
        lists = {
            "unknown": [key for key in found if key not in expected],
            "missing": sorted(expected.difference(found)),
        }
        faults = [f"{fault}: {listed(names)}" for fault, names in lists.items() if names]
        if faults:
            raise DataError(
                f"{file}: does not fit a {self.layout.family} network with {self.layout.channels} channels, multipliers "
                f"{list(self.layout.multipliers)} and {self.layout.blocks} blocks ({'; '.join(faults)}). Nothing was imported."
            )

    def _converted(self, name: str, theirs: Tensor, file: str) -> Tensor:
        tensor = theirs.detach().float()
        if ".attention." in name and name.endswith(".weight") and tensor.ndim == 3:  # Conv1d there, Conv2d here
            tensor = tensor.unsqueeze(-1)
        if tuple(tensor.shape) != self.shapes[name]:
            raise DataError(
                f"{file}: {self.names[name]} is {list(theirs.shape)}, but the other tensors imply a network where it is "
                f"{list(self.shapes[name])}. Nothing was imported."
            )
        if ".attention.qkv." in name and self.head_channels is not None:
            heads = head_count(len(tensor) // 3, self.head_channels)
            tensor = tensor.reshape(heads, 3, -1, *tensor.shape[1:]).transpose(0, 1).reshape(tensor.shape)
        return tensor.contiguous()
