"""The memory of a network: counted once, then read."""

from pathlib import Path

import pytest

from palette.config.models import Network
from palette.costs.networks import footprint
from palette.model.cost import cost


def test_counted_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(channels=8, multipliers=(1,), blocks=1, attention=())
    first, counted = footprint(network, 16, "fp32", False, tmp_path), cost(network, 16)
    assert (first.parameters, first.training_bytes) == (counted.parameters, counted.training_bytes)
    footprint.cache_clear()
    monkeypatch.setattr("palette.costs.networks.import_module", lambda name: pytest.fail(f"{name} is imported"))
    assert footprint(network, 16, "fp32", False, tmp_path) == first
    footprint.cache_clear()
