"""Two folders of corresponding images."""

from pathlib import Path

import pytest

from palette.data.sources.walk import pairs
from palette.errors import DataError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_names_match_regardless_of_extensions(tmp_path: Path) -> None:
    targets = touch(tmp_path / "t", "b.png", "cats/a.JPG", "cats/v1.2.png", "notes.txt", ".hidden.png")
    conditions = touch(tmp_path / "c", "b.png", "cats/a.png", "cats/v1.2.webp")
    assert pairs(targets, conditions) == [
        ("b.png", "b.png"),
        ("cats/a.JPG", "cats/a.png"),
        ("cats/v1.2.png", "cats/v1.2.webp"),
    ]


def test_every_picture_without_a_partner_is_listed(tmp_path: Path) -> None:
    targets = touch(tmp_path / "t", "both.png", "cats/a.png")
    conditions = touch(tmp_path / "c", "both.jpg", "dogs/a.png", "A.png")
    with pytest.raises(DataError) as caught:
        pairs(targets, conditions)
    assert "problems: 3" in str(caught.value)
    for file, name, other in [("t/cats/a.png", "cats/a", "c"), ("c/dogs/a.png", "dogs/a", "t"), ("c/A.png", "A", "t")]:
        assert f"{tmp_path / file}: no file {name}.* in {tmp_path / other}" in str(caught.value)
    assert "both" not in str(caught.value)


def test_ten_problems_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    targets = touch(tmp_path / "t", *(f"{i:02}.png" for i in range(23)))
    with pytest.raises(DataError) as caught:
        pairs(targets, touch(tmp_path / "c", "00.png"))
    lines = str(caught.value).splitlines()
    assert "problems: 22" in lines[0]
    assert "10.png" in lines[10]
    assert lines[11:] == ["  and 12 more"]


def test_two_files_of_one_name_are_ambiguous(tmp_path: Path) -> None:
    targets, conditions = touch(tmp_path / "t", "a.png"), touch(tmp_path / "c", "a.png", "a.jpg")
    with pytest.raises(DataError, match=r"c: which one of a\.jpg and a\.png\?"):
        pairs(targets, conditions)


def test_a_folder_cannot_be_paired_with_itself(tmp_path: Path) -> None:
    """By whatever name."""
    folder = touch(tmp_path / "t", "a.png")
    (tmp_path / "link").symlink_to(folder)
    for other in (folder, tmp_path / "link", tmp_path / "x/../t"):
        with pytest.raises(DataError, match="t: `path` and `conditions` of `fetch` are the same folder"):
            pairs(folder, other)
