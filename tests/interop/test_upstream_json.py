"""JSON of the unofficial code: comments anywhere but in strings, trailing commas, errors with the line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palette.errors import ConfigError
from palette.interop.upstream_json import Upstream, is_upstream_config, plain_json, read_config

TEXT = st.text('/*\\",{}[]: \nabc#é', max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)
COMMENTS = st.sampled_from([' // a "comment" with } and ,\n', '/* { [ , " // \n */', "/**/", "\n", "  "])


@given(VALUES, st.lists(COMMENTS, min_size=1, max_size=5))
def test_comments_change_nothing_and_strings_stay(value: Any, comments: list[str]) -> None:
    """Comments between all tokens, and a comma after every last element."""
    remarks = iter(comments * 200)

    def written(value: Any) -> str:
        if isinstance(value, dict):
            inner = "".join(f"{json.dumps(key)}{next(remarks)}:{written(entry)}," for key, entry in value.items())
            return f"{{{inner}{next(remarks)}}}"
        if isinstance(value, list):
            return f"[{''.join(f'{written(entry)},{next(remarks)}' for entry in value)}]"
        return next(remarks) + json.dumps(value) + next(remarks)

    text = written(value)
    assert json.loads(plain_json(text)) == value
    assert plain_json(text).count("\n") == text.count("\n")


def test_urls_are_not_comments(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"name": "http://host//share", // "datasets": 1,\n "datasets": {}, "model": {},}')
    assert read_config(file).get("name", str, "") == "http://host//share"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{\n// two\n"name": tea}', ":3: not valid JSON"),
        ('{"datasets": {}}', "no 'model' in it"),
        ("[1, 2]", "no 'datasets' and no 'model'"),
        ('{"a": 1 /* no end }', ":1: not valid JSON"),
        ('{"a": "\n"}', "not valid JSON"),
    ],
)
def test_errors_name_file_and_line(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"a\.json") as error:
        read_config(file)
    assert says in str(error.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_config(tmp_path / "none.json")


def test_values_of_the_wrong_type() -> None:
    source = Upstream(
        Path("a.json"), {"train": {"n_iter": "many", "n_epoch": 1e3, "on": True, "x": None, "list": [{"y": 2}]}}
    )
    assert source.get("train.n_epoch", int, 0) == 1000
    assert source.get("train.x", int, 7) == 7
    assert source.get("train.list.0.y", float, 0.0) == 2.0
    assert source.get("train.list.5.y", int, 3) == 3
    with pytest.raises(ConfigError, match=r'a\.json: train\.n_iter: expected int, found "many"'):
        source.get("train.n_iter", int, 0)
    with pytest.raises(ConfigError, match="expected int, found true"):
        source.get("train.on", int, 0)


def test_unread_keys_are_listed() -> None:
    source = Upstream(Path("a.json"), {"a": {"b": 1, "c": {"d": 2}}, "e": [{"f": 1, "g": 2}], "h": {"i": 1}, "n": None})
    source.get("a.b", int, 0)
    source.get("e.0.g", int, 0)
    assert source.left() == ["a.c", "e.0.f", "h"]


def test_files_recognized_as_json(tmp_path: Path) -> None:
    for name, text, expected in [
        ("a.json", "anything", True),
        ("a.conf", "// made by hand\n{}", True),
        ("a.yaml", "datasets: {}", False),
        ("a.pth", "\x80\x02", False),
    ]:
        (tmp_path / name).write_text(text)
        assert is_upstream_config(tmp_path / name) is expected, name
