"""FLOPs and parameters by formula, against torch's count on the networks themselves."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from palette.config.models import Network
from palette.model.flops import attention_flops, flops, parameters, training_flops
from palette.model.networks import adm, build


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


def counter_of(network: Network, size: int, height: int, width: int) -> FlopCounterMode:
    """What torch counts on tensors without values, for an image of other sides than the network's own."""
    with torch.device("meta"):
        model = build(network, size).eval()
        arguments = torch.empty(1, 6, height, width), torch.empty(1)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*arguments)
    return counter


def counted(network: Network, size: int) -> int:
    """By torch."""
    return int(counter_of(network, size, size, size).get_total_flops())


def test_equal_to_what_torch_counts(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adm, "doubled", lambda h, conv: conv(adm.resample(h, "up")))  # the shortcut for CPUs
    cases = of_presets(checkout) | {(SMALL.model_copy(update=change), 16): str(change) for change in OTHERS}
    assert len(cases) > 12
    for (network, size), name in cases.items():
        assert flops(network, size) == counted(network, size), name
        with torch.device("meta"):
            own = build(network, size).parameters()
        assert parameters(network, size) == sum(parameter.numel() for parameter in own), name


@pytest.mark.parametrize("change", [{}, *OTHERS], ids=str)
def test_attention_grows_with_the_square(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adm, "doubled", lambda h, conv: conv(adm.resample(h, "up")))
    network = SMALL.model_copy(update=change)
    own = counter_of(network, 16, 16, 16).get_flop_counts()["Global"]
    pairs = sum(count for operation, count in own.items() if "bmm" in str(operation) or "attention" in str(operation))
    assert attention_flops(network, 16) == pairs
    larger, attention, share = counter_of(network, 16, 32, 64), attention_flops(network, 16), 32 * 64 / 16**2
    predicted = share * (flops(network, 16) - attention) + share**2 * attention
    assert predicted == pytest.approx(larger.get_total_flops(), rel=0.01)


def test_a_step_of_training_is_three_or_four_passes() -> None:
    once = flops(SMALL, 16)
    assert (training_flops(SMALL, 16, recompute=False), training_flops(SMALL, 16, recompute=True)) == (
        3 * once,
        4 * once,
    )
