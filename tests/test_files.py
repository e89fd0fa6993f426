"""Files that are whole or absent, and what is said of those that are not what they should be."""

import json
from pathlib import Path

import pytest

from palette.errors import DataError
from palette.files import read_json, write_json


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
