"""ZIPs and tars beyond the limits of the original formats: 65,535 members, 4 GiB, 8 GiB. Large files are sparse."""

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from palette.data.sources.manifest import Opener
from palette.data.sources.members import members
from palette.data.store import zip_reader
from palette.data.store.store import ImageStore, encode, image_name
from palette.data.store.writer import StoreWriter
from tests.data.archives import png

MANY = 65_600
FAR = 5 << 30
COLORS = [np.full((2, 2, 3), value, np.uint8) for value in range(200)]
PNGS = [encode(color) for color in COLORS]


def add(writer: StoreWriter, indices: range) -> None:
    for index in indices:
        writer.add(image_name(index), PNGS[index % 200], index % 2, {})


# ------------------------------------------------------------------------------------------------ many members


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of more images than the directory of a plain ZIP can count."""
    folder = tmp_path_factory.mktemp("many")
    with (folder / "s.zip").open("w+b") as file, (folder / "s.jsonl").open("w+b") as lines:
        writer = StoreWriter(file, lines, ["even", "odd"])
        add(writer, range(MANY))
        writer.finish()
    return folder / "s.zip"


def test_a_store_of_more_than_65535_images(many: Path) -> None:
    with ImageStore(many) as store:
        assert len(store) == MANY
        assert store.names[-1] == image_name(MANY - 1)
        assert store.labels == [index % 2 for index in range(MANY)]
        for index in (0, 1, 65_533, 65_534, 65_535, 65_536, MANY - 1):
            assert np.array_equal(store[index], COLORS[index % 200])


def test_other_programs_read_it_too(many: Path) -> None:
    """Python's zipfile, and our reader of anybody's archives."""
    with zipfile.ZipFile(many) as archive:
        names = archive.namelist()
        assert names == [*map(image_name, range(MANY)), "dataset.json", "manifest.json"]
        assert archive.read(names[65_536]) == PNGS[65_536 % 200]
    found = [entry for entry in members(many) if entry["file"].endswith(".png")]
    assert [entry["file"] for entry in found] == names[:MANY]
    read = Opener([many]).read
    assert all(read(found[index]) == PNGS[index % 200] for index in (0, 65_535, MANY - 1))


def test_a_foreign_zip_of_more_than_65535_pictures(tmp_path: Path) -> None:
    path, pictures = tmp_path / "x.zip", [png(number, (2, 2)) for number in range(100)]
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(MANY):
            archive.writestr(f"{index % 7}/{index}.png", pictures[index % 100])
    found, read = list(members(path)), Opener([path]).read
    assert [entry["file"] for entry in found] == [f"{index % 7}/{index}.png" for index in range(MANY)]
    assert all(read(found[index]) == pictures[index % 100] for index in (0, 65_534, 65_535, 65_536, MANY - 1))


# ----------------------------------------------------------------------------------------------------- far away


def test_a_store_of_more_than_4_gib_also_after_a_kill(tmp_path: Path) -> None:
    """Images before and behind 4 GiB; the one who wrote them is gone, and another goes on from its two files."""
    path, lines = tmp_path / "s.zip", tmp_path / "s.jsonl"
    with path.open("w+b") as file, lines.open("w+b") as journal:
        writer = StoreWriter(file, journal, ["even", "odd"])
        add(writer, range(3))
        file.seek(FAR)
        add(writer, range(3, 6))
        writer.save()
        file.write(b"half an image")
    with path.open("r+b") as file, lines.open("r+b") as journal:
        writer = StoreWriter(file, journal, ["even", "odd"])
        assert (writer.items, writer.images) == (6, 6)
        add(writer, range(6, 9))
        writer.finish()
    with ImageStore(path) as store:
        assert store.labels == [0, 1, 0, 1, 0, 1, 0, 1, 0]
        assert all(np.array_equal(store[index], COLORS[index]) for index in range(9))
    with zipfile.ZipFile(path) as archive:
        assert archive.infolist()[3].header_offset == FAR
        assert archive.testzip() is None
    found = list(members(path))[:9]
    assert [Opener([path]).read(entry) for entry in found] == PNGS[:9]


@pytest.mark.parametrize("offset", [(1 << 32) - 2, (1 << 32) - 1, 1 << 32])
def test_on_both_sides_of_4_gib(tmp_path: Path, offset: int) -> None:
    """A member begins at the last byte that 32 bits can name, at the value that says to look elsewhere, and behind."""
    path = tmp_path / "x.zip"
    with path.open("w+b") as file:
        written = [zip_reader.append(file, "near.png", PNGS[0])]
        file.seek(offset)
        written += [zip_reader.append(file, name, data) for name, data in (("a.png", PNGS[1]), ("é.png", PNGS[2]))]
        zip_reader.finish(file, written)
        file.flush()
        found, listing = zip_reader.directory(file.fileno(), file.tell())
        assert zip_reader.names(listing, len(found)) == ["near.png", "a.png", "é.png"]
        assert found.offset.tolist() == [member.offset for member in written]
        places = zip(found.offset.tolist(), found.size.tolist(), found.crc.tolist(), strict=True)
        assert [zip_reader.read_member(file.fileno(), *place) for place in places] == PNGS[:3]
    with zipfile.ZipFile(path) as archive:
        assert [(info.filename, info.header_offset) for info in archive.infolist()] == [m[:2] for m in written]
        assert archive.testzip() is None


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_foreign_zip_of_more_than_4_gib(tmp_path: Path, method: int) -> None:
    """Also with lengths of 64 bits where nobody needed them, as those write who do not know the length beforehand."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("near.png", png(0))
        archive.start_dir = FAR
        archive.writestr("far.png", png(1))
        with archive.open("stream.png", "w", force_zip64=True) as member:
            member.write(png(2))
    read = Opener([path]).read
    assert {entry["file"]: read(entry) for entry in members(path)} == {
        "near.png": png(0), "far.png": png(1), "stream.png": png(2),
    }  # fmt: skip


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_with_a_member_of_more_than_8_gib(tmp_path: Path, format: int) -> None:
    """What is behind it is found; it would be no picture, and is not read."""
    path, size = tmp_path / "x.tar", 9 << 30
    with path.open("wb") as file:
        for name, length, content in (("film.png", size, b""), ("a/1.png", len(png(1)), png(1))):
            info = tarfile.TarInfo(name)
            info.size = length
            file.write(info.tobuf(format))
            start = file.tell()
            file.write(content)
            file.seek(start + -(-length // 512) * 512)
        file.write(bytes(1024))
    film, picture = members(path)
    assert (film["file"], film["bytes"]) == ("film.png", size)
    assert picture["offset"] > size
    assert Opener([path]).read(picture) == png(1)
