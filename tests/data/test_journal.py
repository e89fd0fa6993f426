"""A killed `prepare` resumes its store and ends with the same bytes."""

import io
import os
import random
import zipfile
from pathlib import Path

import pytest

from palette.data.store.writer import SAVE_EVERY, StoreWriter

COUNT = SAVE_EVERY + 40


def write(folder: Path, stop: int = COUNT) -> bytes:
    """Go on up to item `stop`; finish the store only at the last. Every fifth item gives no image."""
    paths = [folder / "s.zip", folder / "s.jsonl"]
    for path in paths:
        path.touch()
    with paths[0].open("r+b") as file, paths[1].open("r+b") as journal:
        writer = StoreWriter(file, journal, ["a", "b"])
        for item in range(writer.items, stop):
            if item % 5 == 4:
                writer.leave_out({"file": f"{item}", "reason": "bad"})
            else:
                writer.add(f"{item:05}.png", b"%d" % item * 9, item % 2, {"file": f"{item}"})
        writer.save()
        if stop == COUNT:
            writer.finish()
            assert (writer.items, writer.images) == (COUNT, COUNT - COUNT // 5)
    return paths[0].read_bytes()


@pytest.mark.parametrize("seed", range(12))
def test_killed_anywhere(tmp_path: Path, seed: int) -> None:
    generator = random.Random(seed)
    (calm := tmp_path / "calm").mkdir()
    (wild := tmp_path / "wild").mkdir()
    expected = write(calm)
    write(wild, generator.randrange(1, COUNT))
    for name in generator.choice((["s.zip"], ["s.jsonl"], ["s.zip", "s.jsonl"])):
        data = (wild / name).read_bytes()
        (wild / name).write_bytes(data[: generator.randrange(len(data) + 1)] + b"\0" * generator.randrange(3))
    assert write(wild) == expected
    with zipfile.ZipFile(io.BytesIO(expected)) as archive:
        assert archive.testzip() is None
        assert archive.read("00007.png") == b"7" * 9


def test_images_are_on_disk_before_their_journal_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / "s.zip", tmp_path / "s.jsonl"]
    for path in paths:
        path.touch()
    flushed: list[tuple[int, bool]] = []

    def fsync(descriptor: int) -> None:
        flushed.append((descriptor, paths[1].stat().st_size > 0))

    with paths[0].open("r+b") as file, paths[1].open("r+b") as journal:
        writer = StoreWriter(file, journal, ["a"])
        writer.add("0.png", b"image", 0, {})
        monkeypatch.setattr(os, "fsync", fsync)
        writer.save()
        assert flushed == [(file.fileno(), False), (journal.fileno(), True)]
