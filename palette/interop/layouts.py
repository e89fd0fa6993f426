"""U-Net layouts inferred from tensor shapes, and the mapping of our tensor names to those of other code.

There are three families of checkpoints: `guided_diffusion` and `sr3`, the two backbones of the unofficial code, and
ADM's own, which differ from the first in one name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from palette.errors import DataError, listed

Shapes = Mapping[str, tuple[int, ...]]
"""Name → shape."""


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


class Reader:
    """Reader of the tensor shapes in one file, whose name is in its error messages."""

    def __init__(self, file: str, shapes: Shapes) -> None:
        self.file, self.shapes = file, shapes

    def shape(self, key: str) -> tuple[int, ...]:
        if key not in self.shapes:
            raise DataError(f"{self.file}: not a whole network: {key} is missing.")
        return self.shapes[key]

    def told(self, key: str) -> str:
        """Return a tensor's name and shape for messages: `input_blocks.0.0.weight [64, 6, 3, 3]`."""
        return f"{key} {list(self.shape(key))}"

    def numbers(self, pattern: str) -> set[int]:
        """Return the numbers matched by the group of `pattern`, over all tensor names."""
        return {int(found[1]) for key in self.shapes if (found := re.match(pattern, key))}

    def refuse(self, text: str) -> DataError:
        return DataError(f"{self.file}: {text}")

    def multiplier(self, channels: int, key: str) -> int:
        outer = self.shape(key)[0]
        if outer % channels:
            raise self.refuse(f"{self.told(key)}: {outer} channels are no whole multiple of {channels}. Not supported.")
        return outer // channels


def read_guided(reader: Reader, family: str) -> Layout:
    """Return the layout of `guided_diffusion` or `adm` weights.

    Raises DataError for variants that have no counterpart here.
    """
    embedding = f"{GUIDED_EMBEDDING[family]}.0.weight"
    channels = reader.shape(embedding)[1]
    if any(re.match(r"(output_blocks\.\d+\.\d+\.conv|input_blocks\.\d+\.0\.op)\.", key) for key in reader.shapes):
        raise reader.refuse(
            "trained with `resblock_updown: false` (plain convolutions change the resolution). Not supported."
        )
    entries = reader.numbers(r"output_blocks\.(\d+)\.")
    levels = 1 + len(reader.numbers(r"output_blocks\.(\d+)\.[12]\.in_layers\.2\.weight"))
    if not entries or len(entries) % levels or len(entries) == levels:
        raise reader.refuse(f"not a whole network: {len(entries)} output_blocks do not make {levels} levels.")
    blocks = len(entries) // levels - 1
    first = [f"input_blocks.{1 + level * (blocks + 1)}" for level in range(levels)]
    outer = [f"{prefix}.0.in_layers.2.weight" for prefix in first]
    modulation = f"{first[0]}.0.emb_layers.1.weight"
    if reader.shape(modulation)[0] != 2 * reader.shape(outer[0])[0]:
        raise reader.refuse(f"{reader.told(modulation)}: trained with `use_scale_shift_norm: false`. Not supported.")
    stem, last = "input_blocks.0.0.weight", "out.2.weight"
    if reader.shape(stem)[0] != channels:
        raise reader.refuse(
            f"{reader.told(stem)}, but `inner_channel` is {channels}: a first `channel_mults` other than 1 is not supported."
        )
    attending = tuple(f"{prefix}.1.qkv.weight" in reader.shapes for prefix in first)
    return Layout(
        family,
        in_channels=reader.shape(stem)[1],
        out_channels=reader.shape(last)[0],
        channels=channels,
        multipliers=tuple(reader.multiplier(channels, key) for key in outer),
        blocks=blocks,
        attending=attending,
        seen={
            "in_channels": reader.told(stem),
            "out_channels": reader.told(last),
            "channels": reader.told(embedding),
            "multipliers": ", ".join(map(reader.told, outer)),
            "blocks": f"{len(entries)} output_blocks in {levels} levels",
            "attending": _qkv_seen(reader, [f"{prefix}.1.qkv.weight" for prefix in first]),
        },
    )


def read_sr3(reader: Reader) -> Layout:
    """Return the layout of `sr3` weights. Raises DataError for an incomplete network."""
    embedding, stem, last = "noise_level_mlp.1.weight", "downs.0.weight", "final_conv.block.3.weight"
    channels = reader.shape(embedding)[1]
    halvings = sorted(reader.numbers(r"downs\.(\d+)\.conv\.weight"))
    entries = sorted(reader.numbers(r"downs\.(\d+)\.res_block\."))
    levels = len(halvings) + 1
    if not entries or len(entries) % levels:
        raise reader.refuse(
            f"not a whole network: {len(entries)} residual blocks in `downs` do not make {levels} levels."
        )
    blocks = len(entries) // levels
    first = [f"downs.{1 + level * (blocks + 1)}" for level in range(levels)]
    outer = [f"{prefix}.res_block.block1.block.3.weight" for prefix in first]
    return Layout(
        "sr3",
        in_channels=reader.shape(stem)[1],
        out_channels=reader.shape(last)[0],
        channels=channels,
        multipliers=tuple(reader.multiplier(channels, key) for key in outer),
        blocks=blocks,
        attending=tuple(f"{prefix}.attn.qkv.weight" in reader.shapes for prefix in first),
        seen={
            "in_channels": reader.told(stem),
            "out_channels": reader.told(last),
            "channels": reader.told(embedding),
            "multipliers": ", ".join(map(reader.told, outer)),
            "blocks": f"{len(entries)} residual blocks in `downs`, {levels} levels",
            "attending": _qkv_seen(reader, [f"{prefix}.attn.qkv.weight" for prefix in first]),
        },
    )


def _qkv_seen(reader: Reader, keys: list[str]) -> str:
    return ", ".join(reader.told(key) if key in reader.shapes else f"no {key}" for key in keys)


def read_layout(file: str, shapes: Shapes) -> Layout:
    """Return the layout of a U-Net, recognized by its tensor names. file: for messages. Raises DataError."""
    reader = Reader(file, shapes)
    if "noise_level_mlp.1.weight" in shapes:
        return read_sr3(reader)
    for family, embedding in GUIDED_EMBEDDING.items():
        if f"{embedding}.0.weight" in shapes:
            return read_guided(reader, family)
    raise reader.refuse(
        "of none of the networks that are known here (guided_diffusion, sr3, ADM): no cond_embed.0.weight, "
        f"noise_level_mlp.1.weight or time_embed.0.weight among {listed(list(shapes), 5)}."
    )


# ------------------------------------------------------------------------------------------------- names

GUIDED_EMBEDDING = {"guided_diffusion": "cond_embed", "adm": "time_embed"}

GUIDED_PARTS = {
    "residual.norm1": "in_layers.0",
    "residual.conv1": "in_layers.2",
    "residual.modulation": "emb_layers.1",
    "residual.norm2": "out_layers.0",
    "residual.conv2": "out_layers.3",
    "residual.skip": "skip_connection",
    "attention.norm": "norm",
    "attention.qkv": "qkv",
    "attention.out": "proj_out",
}
SR3_PARTS = {
    "residual.modulation": "res_block.noise_func.noise_func.0",
    "residual.norm1": "res_block.block1.block.0",
    "residual.conv1": "res_block.block1.block.3",
    "residual.norm2": "res_block.block2.block.0",
    "residual.conv2": "res_block.block2.block.3",
    "residual.skip": "res_block.res_conv",
    "attention.norm": "attn.norm",
    "attention.qkv": "attn.qkv",
    "attention.out": "attn.out",
    "conv": "conv",
}
SR3_ENDS = {
    "embed.1": "noise_level_mlp.1",
    "embed.3": "noise_level_mlp.3",
    "first": "downs.0",
    "last.0": "final_conv.block.0",
    "last.2": "final_conv.block.3",
}


def their_name(layout: Layout, ours: str) -> str:
    """Return the name in the file for a tensor of our network: `first.weight` → `input_blocks.0.0.weight`."""
    module, _, leaf = ours.rpartition(".")
    return f"{_sr3(layout, module) if layout.family == 'sr3' else _guided(layout, module)}.{leaf}"


def _guided(layout: Layout, module: str) -> str:
    embedding = GUIDED_EMBEDDING[layout.family]
    ends = {
        "embed.1": f"{embedding}.0",
        "embed.3": f"{embedding}.2",
        "first": "input_blocks.0.0",
        "last.0": "out.0",
        "last.2": "out.2",
    }
    if module in ends:
        return ends[module]
    place, index, rest = module.split(".", 2)
    number = int(index)
    if place == "encoder":
        return f"input_blocks.{number + 1}.{int(rest.startswith('attention'))}.{GUIDED_PARTS[rest]}"
    if place == "middle":
        return f"middle_block.{2 * number + int(rest.startswith('attention'))}.{GUIDED_PARTS[rest]}"
    position, rest = rest.split(".", 1)
    level = len(layout.multipliers) - 1 - number // (layout.blocks + 1)
    after = int(position) + (1 if position == "1" and layout.attending[level] else 0)
    return f"output_blocks.{number}.{after + int(rest.startswith('attention'))}.{GUIDED_PARTS[rest]}"


def _sr3(layout: Layout, module: str) -> str:
    if module in SR3_ENDS:
        return SR3_ENDS[module]
    place, index, rest = module.split(".", 2)
    number = int(index)
    if place == "encoder":
        return f"downs.{number + 1}.{SR3_PARTS[rest]}"
    if place == "middle":
        return f"mid.{number}.{SR3_PARTS[rest]}"
    position, rest = rest.split(".", 1)
    return f"ups.{number + number // (layout.blocks + 1) + int(position)}.{SR3_PARTS[rest]}"
