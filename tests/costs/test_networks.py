"""Memory of a network: counted once, then read."""

from pathlib import Path

import pytest

from palette.config.models import Network
from palette.costs.estimate import image_bytes
from palette.model.memory import activations


def test_counted_once_and_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(channels=8, multipliers=(1,), blocks=1, attention=())
    first = image_bytes(network, 16, "fp32", False, tmp_path)
    assert first == activations(network, 16).training
    image_bytes.cache_clear()
    monkeypatch.setattr("palette.costs.estimate.import_module", lambda name: pytest.fail(f"{name} is imported"))
    assert image_bytes(network, 16, "fp32", False, tmp_path) == first
    image_bytes.cache_clear()
