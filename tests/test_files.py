"""Files that are whole or absent, and what is said of those that are not what they should be."""

import errno
import json
from pathlib import Path

import pytest

from palette import files
from palette.errors import DataError
from palette.files import read_json, replacing, write_json


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, {"c": "ü"}]})
    found = read_json(tmp_path / "a.json")
    assert found == {"b": [1, {"c": "ü"}]}
    assert json.loads(json.dumps(found)) == found
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("text", "says"), [(None, "no such file"), ("{", "not readable as JSON"), ("{}", "has no entry 'scores'")]
)
def test_a_file_that_is_not_what_it_should_be_is_named(tmp_path: Path, text: str | None, says: str) -> None:
    file = tmp_path / "scores.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DataError, match=rf"{file}: {says}"):
        read_json(file)["scores"]


def test_a_full_disk_is_told_whatever_the_library_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FULL", 1 << 60)
    with pytest.raises(OSError, match="No space left") as error, replacing(tmp_path / "a"):
        raise RuntimeError("PytorchStreamWriter failed writing file")
    assert error.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
