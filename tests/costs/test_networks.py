"""Memory of a network: counted once, then read."""

from pathlib import Path

import pytest
import torch

from palette.config.models import Network
from palette.costs.disk import parameters
from palette.costs.networks import footprint
from palette.model.cost import cost
from palette.model.networks import build


def test_counted_once_and_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(channels=8, multipliers=(1,), blocks=1, attention=())
    first, counted = footprint(network, 16, "fp32", False, tmp_path), cost(network, 16)
    assert (first.parameters, first.training_bytes) == (counted.parameters, counted.training_bytes)
    footprint.cache_clear()
    monkeypatch.setattr("palette.costs.networks.import_module", lambda name: pytest.fail(f"{name} is imported"))
    assert footprint(network, 16, "fp32", False, tmp_path) == first
    footprint.cache_clear()


@pytest.mark.parametrize(
    "network",
    [
        Network(),
        Network(channels=256, multipliers=(1, 1, 2, 2, 4, 4)),
        Network(channels=16, multipliers=(1, 2), blocks=1, attention=(), patch_size=2),
        *(Network(context=context) for context in ("local-attention", "dilated", "more-blocks")),
        Network(backbone="sr3"),
    ],
    ids=lambda network: f"{network.backbone}-{network.channels}-{network.context}",
)
def test_parameters_are_bounded_from_above(network: Network) -> None:
    """The room on the disk must do, and must not be refused for nothing."""
    with torch.device("meta"):
        counted = sum(parameter.numel() for parameter in build(network, 64).parameters())
    assert counted <= parameters(network, 64) <= 1.3 * counted
