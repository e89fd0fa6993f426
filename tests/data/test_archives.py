"""Archives are read, or refused by name."""

import random
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palette.data.sources.checking import check
from palette.data.sources.manifest import Entry, Opener
from palette.data.sources.members import expanded, members, read_member
from palette.errors import DataError
from tests.data.archives import make_tar, make_zip, png, tar_bytes

FILES = {f"{'ab'[number % 2]}/{number}.png": png(number) for number in range(6)}


def read_all(path: Path) -> dict[str, bytes]:
    read = Opener([path]).read
    return {entry["file"]: read(entry) for entry in members(path)}


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_tar_is_read_in_place(tmp_path: Path, format: int) -> None:
    files = {
        **FILES,
        "a/" + "long" * 20 + "é.png": png(9),
        "./b/dot.png": png(8),
        ".hidden/x.png": b"",
        "__MACOSX/y.png": b"",
    }
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=format) as archive:
        (tmp_path / "empty").mkdir()
        archive.add(tmp_path / "empty", "a")
        for name, content in files.items():
            (tmp_path / "file").write_bytes(content)
            archive.add(tmp_path / "file", name)
    expected = {name.removeprefix("./"): content for name, content in files.items() if content}
    assert read_all(path) == expected


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zips_are_read_in_place(tmp_path: Path, method: int) -> None:
    path = make_zip(tmp_path / "x.zip", FILES, method)
    assert read_all(path) == FILES
    whole = path.read_bytes()
    path.write_bytes(b"#!/bin/sh\n" + whole)  # something in front of it moves every offset
    assert read_all(path) == FILES


def test_zips_of_windows_are_read_by_their_folders(tmp_path: Path) -> None:
    """Some tools there write `\\` between the parts of a name, also of a folder's; others begin names with `./`."""
    names = {"train\\cat\\1.png": png(1), "train\\empty\\": b"", "./test/dog/2.png": png(2), "note.txt": b"n"}
    path = make_zip(tmp_path / "x.zip", names)
    assert read_all(path) == {"train/cat/1.png": png(1), "test/dog/2.png": png(2), "note.txt": b"n"}
    assert read_member(path, "train/cat/1.png") == png(1)
    with pytest.raises(DataError, match="leads out of its folder"):
        read_all(make_zip(tmp_path / "y.zip", {"a\\..\\..\\up.png": png(1)}))


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_tar_is_expanded_once(tmp_path: Path, mode: str) -> None:
    path = make_tar(tmp_path / "x.tar.gz", FILES, mode)
    plain = expanded(path, tmp_path / "stage")
    assert read_all(plain) == FILES
    assert [file.name for file in (tmp_path / "stage").iterdir()] == [plain.name]
    plain.write_bytes(b"kept")
    assert expanded(path, tmp_path / "stage").read_bytes() == b"kept"
    assert expanded(make_tar(tmp_path / "y.tar", FILES), tmp_path / "stage") == tmp_path / "y.tar"


def test_single_members(tmp_path: Path) -> None:
    for path in (make_zip(tmp_path / "x.zip", FILES), make_tar(tmp_path / "x.tgz", FILES, "w:gz")):
        assert read_member(path, "a/0.png") == FILES["a/0.png"]
        assert read_member(path, "a/none.png") is None
        assert read_member(path, "a/0.png", most=10) is None


# -------------------------------------------------------------------------------------------------- hostile

UNSAFE = ["/etc/passwd.png", "../up.png", "a/../../up.png", "C:\\windows.png", "\\server\\x.png", "a\\..\\..\\x.png"]


@pytest.mark.parametrize("name", UNSAFE)
def test_names_that_point_outside_are_refused(tmp_path: Path, name: str) -> None:
    for path in (
        make_zip(tmp_path / "x.zip", {"a/1.png": png(1), name: png(2)}),
        make_tar(tmp_path / "x.tar", {name: b"x"}),
    ):
        with pytest.raises(DataError, match=r"x\.(zip|tar): contains '.*the archive is refused"):
            list(members(path))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = make_tar(tmp_path / "x.tar", {"a/1.png": b""}, type=kind, linkname="/etc/passwd")
    with pytest.raises(DataError, match=r"x\.tar: contains a (link|device), 'a/1\.png'"):
        list(members(path))


@pytest.mark.parametrize(("mode", "kind"), [(0o120777, "link"), (0o020666, "device"), (0o010666, "device")])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, mode: int, kind: str) -> None:
    path = make_zip(tmp_path / "x.zip", {"a/1.png": b"/etc/passwd"}, mode=mode)
    with pytest.raises(DataError, match=f"contains a {kind}, 'a/1.png'"):
        list(members(path))


def test_bombs_are_refused(tmp_path: Path) -> None:
    zeros = bytes(20 << 20)
    with pytest.raises(DataError, match="more than 100 times its size"):
        list(members(make_zip(tmp_path / "x.zip", {"1.png": zeros})))
    with pytest.raises(DataError, match="more than 100 times its size"):
        expanded(make_tar(tmp_path / "x.tgz", {"1.png": zeros}, "w:gz"), tmp_path / "stage")
    assert not list((tmp_path / "stage").iterdir())


def test_many_members_add_up_to_a_bomb(tmp_path: Path) -> None:
    """None of them unpacks to a hundred times the archive, all together do."""
    path = make_zip(tmp_path / "x.zip", {f"{number}.png": bytes(1 << 20) for number in range(40)})
    assert 50 * path.stat().st_size > 1 << 20
    with pytest.raises(DataError, match=r"unpacks to more than 100 times its size \(at \d+\.png\)"):
        list(members(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_whose_crc_is_wrong(tmp_path: Path, method: int) -> None:
    """A whole picture, but not the one that was put in."""
    path = make_zip(tmp_path / "x.zip", FILES, method)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 16] ^= 1
    path.write_bytes(data)
    first, *others = (check(Opener([path]), {**entry, "class": "x"}) for entry in members(path))
    assert first == {"file": "a/0.png", "reason": "damaged in its archive (its bytes do not match their CRC-32)"}
    assert not any("reason" in entry for entry in others)


def test_a_zip_that_lies_about_lengths(tmp_path: Path) -> None:
    """The directory promises 10 bytes, and the data unpack to a megabyte: it is not even tried."""
    path = make_zip(tmp_path / "x.zip", {"1.png": bytes(1 << 20), **FILES})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 10)
    path.write_bytes(data)
    lying = next(iter(members(path)))
    assert lying["bytes"] == 10
    made = check(Opener([path]), {**lying, "class": "x"})
    assert made == {"file": "1.png", "reason": "damaged or not supported (11 bytes instead of 10)"}


def test_unreadable_members_are_listed(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"1.png": png(1)}, zipfile.ZIP_LZMA)
    assert list(members(path)) == [{"file": "1.png", "reason": "compressed by method 14; 0 and 8 are read"}]
    data = bytearray(make_zip(path, {"1.png": png(1)}).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert list(members(path)) == [{"file": "1.png", "reason": "encrypted"}]


def test_broken_archives_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    whole = tar_bytes(FILES)
    for content in (b"", b"no archive at all" * 99, whole[:700], whole[:512] + b"\xff" * 4000, whole[:1024]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.tar: not an archive that can be read, or damaged"):
            list(members(path))
    with pytest.raises(DataError, match="no such file"):
        list(members(tmp_path / "none.tar"))


def test_an_entry_that_points_to_itself(tmp_path: Path) -> None:
    """A negative length takes tarfile back to the header it came from."""
    data = bytearray(tar_bytes(FILES))
    data[124:136] = b"\xff" * 10 + b"\xfe\x00"  # -512 in base 256
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        list(members(tmp_path / "x.tar"))


# --------------------------------------------------------------------------------------------------- fuzzing

SEEDS = {
    "tar": tar_bytes(FILES),
    "pax": tar_bytes({"a/" + "é" * 120 + ".png": png(1), **FILES}),
    "gz": tar_bytes(FILES, "w:gz"),
    "xz": tar_bytes(FILES, "w:xz"),
}


def damaged(seed: bytes, number: int) -> bytes:
    """The seed with bytes changed, removed, doubled or cut off; mostly in headers, where it hurts."""
    rng, data = random.Random(number), bytearray(seed)
    for _ in range(rng.randint(1, 8)):
        at = rng.choice(
            [rng.randrange(len(data)), rng.randrange(min(len(data), 600)), max(0, len(data) - rng.randrange(1, 200))]
        )
        what = rng.randrange(5)
        if what == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif what == 1:
            data[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x80\x00\x00\x00", b"9999"])
        elif what == 2:
            del data[at : at + rng.randint(1, 64)]
        elif what == 3:
            data[at:at] = data[at : at + rng.randint(1, 600)]
        else:
            del data[at:]
        if not data:
            return b""
    return bytes(data)


@settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([*SEEDS, "zip", "nvidia"]), st.integers(0, 1 << 32))
def test_any_damage_ends_with_a_reason(tmp_path_factory: pytest.TempPathFactory, kind: str, number: int) -> None:
    """Whatever an archive holds: its files are read or have a reason, or it is refused by its name; nothing is written."""
    folder = tmp_path_factory.mktemp("fuzz")
    path = folder / ("x.zip" if kind in ("zip", "nvidia") else "x.tar")
    if kind in ("zip", "nvidia"):
        make_zip(path, FILES if kind == "zip" else {**FILES, "dataset.json": b'{"labels": [["a/0.png", 3]]}'})
    path.write_bytes(damaged(SEEDS.get(kind) or path.read_bytes(), number))
    try:
        plain = expanded(path, folder / "stage")
        opener = Opener([plain])
        for entry in members(plain):
            made: Entry = check(opener, {**entry, "class": "x"})
            assert "reason" in made or made["sha256"]
    except DataError:
        pass
    assert {file.name for file in folder.iterdir()} <= {path.name, "stage"}
