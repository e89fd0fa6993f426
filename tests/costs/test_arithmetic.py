"""FLOP by formula, against what torch counts on the networks themselves."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from palette.config.models import Network
from palette.costs.arithmetic import flops, training_flops
from palette.model import adm
from palette.model.networks import build


def of_presets(checkout: Path) -> dict[tuple[Network, int], str]:
    """Every network of the default config and of the presets, at every size of its config's images."""
    found = {}
    for file in (checkout / "config.yaml", *sorted((checkout / "workflow/presets").glob("*.yaml"))):
        raw: dict[str, Any] = yaml.safe_load(file.read_text())
        sizes = {dataset["prepare"]["image_size"] for dataset in raw["datasets"].values()}
        networks = [Network.model_validate(model.get("network", {})) for model in raw["models"].values()]
        found |= {(network, size): f"{file.name}, {size} px" for network in networks for size in sizes}
    return found


SMALL = Network(channels=16, multipliers=(1, 2, 3), blocks=1, attention=(8, 4), head_channels=8)
OTHERS: tuple[dict[str, Any], ...] = (
    {"backbone": "sr3"},
    {"patch_size": 2},
    {"context": "dilated", "attention": (16, 8)},
    {"context": "more-blocks", "blocks": 3},
    {"context": "local-attention", "multipliers": (2, 1)},
    {"multipliers": (3,), "attention": ()},
)


def counted(network: Network, size: int) -> int:
    """By torch, on tensors without values."""
    with torch.device("meta"):
        model = build(network, size).eval()
        arguments = torch.empty(1, 6, size, size), torch.empty(1)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*arguments)
    return int(counter.get_total_flops())


def test_equal_to_what_torch_counts(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adm, "doubled", lambda h, conv: conv(adm.resample(h, "up")))  # the shortcut for CPUs
    cases = of_presets(checkout) | {(SMALL.model_copy(update=change), 16): str(change) for change in OTHERS}
    assert len(cases) > 12
    for (network, size), name in cases.items():
        assert flops(network, size) == counted(network, size), name


def test_a_step_of_training_is_three_or_four_passes() -> None:
    once = flops(SMALL, 16)
    assert (training_flops(SMALL, 16, recompute=False), training_flops(SMALL, 16, recompute=True)) == (
        3 * once,
        4 * once,
    )
