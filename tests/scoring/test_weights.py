"""Pretrained weights: found, missing, damaged, downloaded."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from torchvision import models

from palette.errors import ConfigError, DataError
from palette.scoring import weights
from palette.scoring.weights import VARIABLE, WEIGHTS, Weights, fetch, locate, verify
from tests.web import Site

KNOWN = WEIGHTS["inception"]


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def offer(monkeypatch: pytest.MonkeyPatch, site: Site, content: bytes, sha256: str | None = None) -> Weights:
    """Let the known file be one on this machine."""
    url = site.offer("/source.pt", content)
    offered = Weights(KNOWN.file, url, sha256 or hashlib.sha256(content).hexdigest(), KNOWN.about)
    monkeypatch.setitem(weights.WEIGHTS, "inception", offered)
    return offered


def test_a_file_in_the_named_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / KNOWN.file).write_bytes(b"weights")
    assert locate(tmp_path, "inception") == tmp_path / KNOWN.file
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert locate(None, "inception") == tmp_path / KNOWN.file


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        locate(tmp_path, "inception")
    for part in (KNOWN.file, KNOWN.url, KNOWN.sha256, str(tmp_path), VARIABLE, "score.weights", "download: true"):
        assert part in str(error.value)


def test_an_unnamed_folder_is_explained() -> None:
    with pytest.raises(ConfigError, match=VARIABLE):
        locate(None, "inception")


def test_a_plan_downloads_nothing(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, site, b"weights")
    assert locate(tmp_path / "new", "inception", download=True) == tmp_path / "new" / KNOWN.file
    assert not (tmp_path / "new").exists()
    with pytest.raises(ConfigError, match="no folder of weights is named"):
        locate(None, "inception", download=True)


def test_a_download_is_verified_and_kept(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    known = offer(monkeypatch, site, b"weights")
    path = tmp_path / "new" / "folder" / known.file
    fetch(known, path)
    assert path.read_bytes() == b"weights"
    site.files.clear()
    fetch(known, path)  # it is there


def test_a_wrong_download_leaves_nothing(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    known = offer(monkeypatch, site, b"an error page", sha256="0" * 64)
    with pytest.raises(DataError, match="other bytes than the known file"):
        fetch(known, tmp_path / "folder" / known.file)
    assert not [file for file in (tmp_path / "folder").iterdir() if file.suffix != ".lock"]


def test_a_failing_download_is_explained(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    known = offer(monkeypatch, site, b"")
    site.files.clear()
    with pytest.raises(DataError, match="the download failed") as error:
        fetch(known, tmp_path / "folder" / known.file)
    assert known.url in str(error.value)


def test_file_names_carry_the_first_digits_of_their_hashes() -> None:
    """As torchvision and pytorch-fid name them."""
    named = [(re.search(r"-([0-9a-f]{8})[.]pth$", known.file), known) for known in WEIGHTS.values()]
    assert sum(found is not None for found, _ in named) == 4
    assert all(known.sha256.startswith(found[1]) for found, known in named if found)
    assert all(known.url.endswith("/" + known.file) and len(known.sha256) == 64 for known in WEIGHTS.values())


def test_torchvision_still_names_these_files() -> None:
    urls = {models.ResNet50_Weights.IMAGENET1K_V1.url, models.EfficientNet_B0_Weights.IMAGENET1K_V1.url}
    assert {*urls, models.AlexNet_Weights.IMAGENET1K_V1.url} == {
        WEIGHTS[kind].url for kind in ("resnet50", "efficientnet-b0", "lpips")
    }


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.pt").write_bytes(b"damaged")
    with pytest.raises(DataError, match="not the known file"):
        verify(tmp_path / "file.pt", KNOWN.sha256)
