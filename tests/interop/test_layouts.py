"""Networks of the released sizes are recognized by their shapes, and every tensor has one name here."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.reference import guided_diffusion
from palette.config.models import Network
from palette.interop.layouts import Converter, read_layout


@pytest.mark.parametrize(
    ("options", "family", "parameters", "attending"),
    [
        ({}, "guided_diffusion", 62_641_347, ()),
        (
            {
                "in_channel": 3,
                "out_channel": 6,
                "inner_channel": 256,
                "channel_mults": (1, 1, 2, 2, 4, 4),
                "attn_res": (8, 16, 32),
                "num_head_channels": 64,
            },
            "adm",
            552_814_086,
            (32, 16, 8),
        ),
    ],
    ids=["unofficial", "adm"],
)
def test_released_sizes(options: dict[str, Any], family: str, parameters: int, attending: tuple[int, ...]) -> None:
    with torch.device("meta"):
        reference = guided_diffusion.UNet(**options)
    assert sum(parameter.numel() for parameter in reference.parameters()) == parameters
    embedding = "time_embed" if family == "adm" else "cond_embed"
    tensors = {name.replace("cond_embed", embedding): tensor for name, tensor in reference.state_dict().items()}
    layout = read_layout(Path("file"), tensors)
    assert layout.family == family
    assert layout.channels == options.get("inner_channel", 64)
    assert tuple(layout.multipliers) == options.get("channel_mults", (1, 2, 4, 8))
    assert layout.blocks == 2
    network = Network(channels=layout.channels, multipliers=tuple(layout.multipliers), attention=attending)
    converter = Converter(layout, network, 256)
    assert tuple(converter.attention_at) == attending
    assert set(converter.names.values()) == set(tensors)
