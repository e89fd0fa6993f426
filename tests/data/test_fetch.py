import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from palette.config.datasets import Fetch
from palette.data import photos
from palette.data.images.crops import around
from palette.data.photos import PHOTOS, photo_folder
from palette.data.sources.manifest import Entry, Manifest, Opener
from palette.data.sources.photos import copy_photo
from palette.errors import DataError
from palette.stages import fetch
from palette.stages.base import Runtime, Spec
from palette.stages.fetch import FetchSpec
from palette.stages.stage import Stage

StageOf = Callable[[Spec], Stage[Any]]


def manifest(stage: Stage[Any]) -> dict[str, Any]:
    """The whole manifest of a stage, read into memory."""
    read = Manifest.read(stage.path("manifest.jsonl"))
    return {**read.header, "images": list(read.images()), "rejected": list(read.rejected())}


def fetched(stage_of: StageOf, path: Path | None = None) -> dict[str, Any]:
    options = Fetch() if path is None else Fetch(source="folder", path=path)
    stage = stage_of(FetchSpec(name="mine", fetch=options))
    fetch.run(stage)
    return manifest(stage)


# ------------------------------------------------------------------------------------------------- photos


def test_photos_are_copied_with_their_facts(stage_of: StageOf) -> None:
    stage = stage_of(FetchSpec(name="photos", fetch=Fetch()))
    fetch.run(stage)
    content = manifest(stage)
    assert content["classes"] == [entry["class"] for entry in content["images"]]
    for entry in content["images"]:
        data = (stage.path(content["containers"][0]) / entry["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])
        assert entry["license"] in ("CC0", "public domain")
        assert entry["title"]
        assert entry["author"]
        assert entry["url"].startswith("http")
    card = json.loads(stage.path("card.json").read_text())
    assert set(card["artifacts"]) == {"manifest.jsonl", *(f"images/{photo.file}" for photo in PHOTOS)}


def test_every_photo_leaves_room_for_training() -> None:
    for photo in PHOTOS:
        with Image.open(photo_folder() / photo.file) as image:
            strips = around(*image.size, photo.test_box)
            assert image.mode == "RGB"
            assert photo.test_box[2] <= image.width
            assert photo.test_box[3] <= image.height
        assert sum((r - left) * (b - t) for left, t, r, b in strips) >= 0.4 * image.width * image.height
        assert min(min(r - left, b - t) for left, t, r, b in strips) >= 128


def test_other_bytes_under_a_known_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "chelsea.png").write_bytes(b"another cat")
    with pytest.raises(DataError, match=r"chelsea\.png: not the photograph"):
        copy_photo(PHOTOS[0], tmp_path, tmp_path / "images")
    assert not (tmp_path / "images" / "chelsea.png").exists()


def test_missing_photo_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"chelsea\.png: not readable"):
        copy_photo(PHOTOS[0], tmp_path, tmp_path / "images")


def test_missing_scikit_image_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install scikit-image"):
        photo_folder()


# ------------------------------------------------------------------------------------------------- folder


def picture(path: Path, mode: str = "RGB", size: tuple[int, int] = (12, 9)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(len(path.name)).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    Image.fromarray(values).convert("RGB").convert(mode).save(path)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def test_folder_with_every_kind_of_file(tmp_path: Path, stage_of: StageOf) -> None:
    root = tmp_path / "my pictures"
    for name, mode in [
        ("a.png", "RGB"), ("cats/b.PNG", "RGBA"), ("cats/old/c.jpg", "L"), ("dogs/d.jpeg", "CMYK"), ("dogs/é.webp", "RGB"),
        ("dogs/e.jfif", "RGB"), ("dogs/f.AVIF", "RGB"),
    ]:  # fmt: skip
        picture(root / name, mode)
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(root / "dogs" / "sixteen.png")
    picture(root / "bad" / "short.png", size=(64, 64))
    truncate(root / "bad" / "short.png")
    (root / "bad" / "text.jpg").write_text("no picture")
    (root / "bad" / "empty.png").touch()
    (root / "bad" / "gone.png").symlink_to(root / "nowhere.png")
    (root / "notes.txt").write_text("notes")
    (root / ".hidden.png").write_text("hidden")
    content = fetched(stage_of, root)
    assert [(entry["file"], entry["class"]) for entry in content["images"]] == [
        ("a.png", "my pictures"),
        ("cats/b.PNG", "cats"),
        ("cats/old/c.jpg", "cats"),
        ("dogs/d.jpeg", "dogs"),
        ("dogs/e.jfif", "dogs"),
        ("dogs/f.AVIF", "dogs"),
        ("dogs/sixteen.png", "dogs"),
        ("dogs/é.webp", "dogs"),
    ]
    assert content["classes"] == ["cats", "dogs", "my pictures"]
    assert content["images"][0]["size"] == [12, 9]
    assert content["images"][0]["sha256"] == hashlib.sha256((root / "a.png").read_bytes()).hexdigest()
    reasons = {entry["file"]: entry["reason"] for entry in content["rejected"]}
    assert list(reasons) == ["notes.txt", "bad/empty.png", "bad/gone.png", "bad/short.png", "bad/text.jpg"]
    assert "truncated" in reasons["bad/short.png"].lower()
    assert "extension" in reasons["notes.txt"]
    assert not any("0x" in reason for reason in reasons.values())


def test_size_is_that_of_the_upright_image(tmp_path: Path, stage_of: StageOf) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert fetched(stage_of, tmp_path)["images"][0]["size"] == [20, 30]


def test_links_to_folders_are_followed_once(tmp_path: Path, stage_of: StageOf) -> None:
    root = tmp_path / "root"
    picture(root / "cats" / "a.png")
    picture(tmp_path / "elsewhere" / "b.png")
    (root / "dogs").symlink_to(tmp_path / "elsewhere")
    (root / "cats" / "loop").symlink_to(root)
    assert [entry["file"] for entry in fetched(stage_of, root)["images"]] == ["cats/a.png", "dogs/b.png"]


def test_name_that_is_not_utf_8_is_listed(tmp_path: Path, stage_of: StageOf) -> None:
    picture(tmp_path / "a.png")
    try:
        for name in (b"/b\xff.png", b"/c\xff.txt"):
            Path(os.fsdecode(os.fsencode(tmp_path) + name)).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system wants UTF-8")
    first, second = fetched(stage_of, tmp_path)["rejected"]
    assert first == {"file": "'b\\udcff.png'", "reason": "its name is not UTF-8"}
    assert second["file"] == "'c\\udcff.txt'"
    assert second["reason"].startswith("unsupported file extension")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_a_file_that_the_disk_refuses_is_listed(
    tmp_path: Path, stage_of: StageOf, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Without permission, or where the disk is bad: the tests may run as root, whom nothing is forbidden."""
    for number in range(3):
        picture(tmp_path / "own" / f"{number}.png")
    read = Opener.read

    def refusing(opener: Opener, entry: Entry) -> bytes:
        if entry["file"] == "1.png":
            raise OSError(code, os.strerror(code), "1.png")
        return read(opener, entry)

    monkeypatch.setattr(Opener, "read", refusing)
    content = fetched(stage_of, tmp_path / "own")
    assert [entry["file"] for entry in content["images"]] == ["0.png", "2.png"]
    assert content["rejected"] == [{"file": "1.png", "reason": f"not readable ({os.strerror(code)})"}]


def test_missing_folder_is_named(tmp_path: Path, stage_of: StageOf) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        fetched(stage_of, tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: not a folder"):
        fetched(stage_of, tmp_path / "file")


def test_folder_without_a_picture_says_why(tmp_path: Path, stage_of: StageOf) -> None:
    with pytest.raises(DataError, match="it has no files"):
        fetched(stage_of, tmp_path)
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(DataError, match=r"a\.png: not an image, despite its file extension"):
        fetched(stage_of, tmp_path)


def test_number_of_threads_changes_no_byte(tmp_path: Path, stage_of: StageOf) -> None:
    for number in range(30):
        picture(tmp_path / "pictures" / f"{number}.png")
    options = Fetch(source="folder", path=tmp_path / "pictures")
    made = set()
    for threads in (1, 3):
        stage = stage_of(FetchSpec(name="mine", fetch=options, runtime=Runtime(threads=threads)))
        fetch.run(stage)
        made.add(stage.path("manifest.jsonl").read_bytes())
    assert len(made) == 1
