"""Pretrained weights: found, missed, damaged, downloaded."""

import hashlib
from pathlib import Path

import pytest

from palette.errors import ConfigError, DataError
from palette.scoring import weights
from palette.scoring.weights import VARIABLE, WEIGHTS, Weights, locate, verify

KNOWN = WEIGHTS["inception"]


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def offer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, sha256: str | None = None) -> None:
    """Let the known file be one on this disk."""
    source = tmp_path / "source.pt"
    source.write_bytes(content)
    offered = Weights(KNOWN.file, source.as_uri(), sha256 or hashlib.sha256(content).hexdigest(), KNOWN.about)
    monkeypatch.setitem(weights.WEIGHTS, "inception", offered)


def test_a_file_in_the_named_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / KNOWN.file).write_bytes(b"weights")
    assert locate(tmp_path, "inception") == tmp_path / KNOWN.file
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert locate(None, "inception") == tmp_path / KNOWN.file


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        locate(tmp_path, "inception")
    for part in (KNOWN.file, KNOWN.url, str(tmp_path), VARIABLE, "score.weights", "download: true"):
        assert part in str(error.value)


def test_an_unnamed_folder_is_explained() -> None:
    with pytest.raises(ConfigError, match=VARIABLE):
        locate(None, "inception")


def test_a_download_is_checked_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, tmp_path, b"weights")
    path = locate(tmp_path / "new" / "folder", "inception", download=True)
    assert path.read_bytes() == b"weights"
    assert list(path.parent.iterdir()) == [path]


def test_a_wrong_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, tmp_path, b"an error page", sha256="0" * 64)
    with pytest.raises(DataError, match="not the known file"):
        locate(tmp_path / "folder", "inception", download=True)
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_failing_download_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, tmp_path, b"")
    (tmp_path / "source.pt").unlink()
    with pytest.raises(ConfigError, match="the download failed"):
        locate(tmp_path / "folder", "inception", download=True)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.pt").write_bytes(b"damaged")
    with pytest.raises(DataError, match="not the known file"):
        verify(tmp_path / "file.pt", KNOWN.sha256)
