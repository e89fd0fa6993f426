import hashlib
import os
import pickle
import tracemalloc
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palette.data.sources.manifest import Entry, Manifest, Opener, inflate, opener, write_manifest
from palette.errors import DataError

HEADER = {"source": "folder", "containers": ["pictures"]}


def entry(number: int, **more: Any) -> Entry:
    return {"file": f"{number}.png", "bytes": 7, "sha256": "0" * 64, "class": f"c{number % 3}", "size": [4, 3], **more}


def test_entries_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    bad = {"file": "line\nbreak\u2028.png", "reason": "damaged"}
    write_manifest(path, {**HEADER, "license": "CC0"}, [entry(2), bad, entry(1, split="test", title="é")])
    read = Manifest.read(path)
    assert read.header == {
        "source": "folder", "containers": ["pictures"], "license": "CC0", "classes": ["c1", "c2"], "images": 2, "rejected": 1,
    }  # fmt: skip
    assert list(read.images()) == [entry(2), entry(1, split="test", title="é")]
    assert list(read.rejected()) == [bad]
    assert read.containers == [tmp_path / "pictures"]
    assert len(path.read_bytes().splitlines()) == 4


def test_given_classes_keep_their_order(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "m", {**HEADER, "classes": ["c9", "c1"]}, [entry(1)])
    assert manifest.classes == ["c9", "c1"]


@given(
    st.lists(
        st.dictionaries(
            st.text(st.characters(), max_size=9), st.text(st.characters()) | st.integers() | st.none(), max_size=3
        ),
        max_size=5,
    )
)
def test_any_entry_round_trips(tmp_path_factory: pytest.TempPathFactory, extras: list[dict[str, Any]]) -> None:
    path = tmp_path_factory.mktemp("m") / "manifest.jsonl"
    entries = [{**extra, **entry(i)} for i, extra in enumerate(extras) if "reason" not in extra]
    write_manifest(path, {**HEADER, "path": "b\udcff"}, entries)
    assert Manifest.read(path).header["path"] == "b\udcff"
    assert list(Manifest.read(path).images()) == entries


def test_an_interrupted_list_leaves_nothing(tmp_path: Path) -> None:
    def entries() -> Any:
        yield entry(1)
        raise DataError("stop")

    with pytest.raises(DataError, match="stop"):
        write_manifest(tmp_path / "manifest.jsonl", HEADER, entries())
    assert not list(tmp_path.iterdir())


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Ten times the entries take no more memory, written and read."""

    def peak(count: int) -> int:
        tracemalloc.start()
        manifest = write_manifest(tmp_path / "m", HEADER, (entry(i) for i in range(count)))
        assert sum(1 for _ in manifest.images()) == count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    small = peak(2_000)
    assert peak(20_000) < 1.5 * small


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not readable as JSON"),
        (b"[]\n", "not an entry"),
        (b'{"source": "folder"}\n', "not a manifest"),
        (b'{"source":"x","containers":[],"classes":[],"images":2,"rejected":0}\n{"file":"a"}\n', "ends after 1 of 2"),
        (b'{"source":"x","containers":[],"classes":[],"images":1,"rejected":0}\n{"fi\n', ":2: not readable"),
    ],
)
def test_damage_is_reported(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(DataError, match=says):
        list(Manifest.read(tmp_path / "m").images())


def test_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fetch stage makes it"):
        Manifest.read(tmp_path / "m")


# ------------------------------------------------------------------------------------------------ the bytes

WORDS = [os.urandom(50) + bytes(300) for _ in range(20)]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """The same words three times: in a folder, plain inside a file, deflated inside a ZIP."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "plain").write_bytes(b"head" + b"".join(WORDS))
    entries = []
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, word in enumerate(WORDS):
            (tmp_path / "pictures" / f"{number}").write_bytes(word)
            archive.writestr(f"{number}", word)
            info = archive.getinfo(f"{number}")
            facts = {"file": f"{number}", "bytes": 350, "sha256": hashlib.sha256(word).hexdigest(), "class": "c"}
            start = info.header_offset + 30 + len(info.filename)
            entries += [
                facts,
                {**facts, "container": 1, "offset": 4 + 350 * number},
                {**facts, "container": 2, "offset": start, "deflated": info.compress_size},
            ]
    header = {"source": "x", "containers": ["pictures", "plain", str(tmp_path / "z.zip")]}
    return write_manifest(tmp_path / "manifest.jsonl", header, entries)


def test_bytes_are_read_from_files_and_archives(manifest: Manifest) -> None:
    read = opener(manifest)
    assert [read(e) for e in manifest.images()] == [word for word in WORDS for _ in range(3)]


def test_threads_and_processes_do_not_mix_their_bytes(manifest: Manifest) -> None:
    read, entries = opener(manifest), list(manifest.images())
    expected = [word for word in WORDS for _ in range(3)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, entries * 5)) == expected * 5
    with get_context("fork").Pool(2) as pool:
        assert pool.map(read, entries) == expected
    assert pickle.loads(pickle.dumps(read))(entries[2]) == WORDS[0]


def test_other_bytes_are_refused(manifest: Manifest) -> None:
    read, (plain, inside, deflated) = opener(manifest), list(manifest.images())[:3]
    (manifest.path.parent / "pictures/0").write_bytes(b"x")
    with pytest.raises(DataError, match=r"pictures/0: changed since it was fetched"):
        read(plain)
    with pytest.raises(DataError, match=r"plain/0: changed"):
        read({**inside, "offset": 5})
    with pytest.raises(DataError, match=r"z\.zip/0: (changed|not readable any more)"):
        read({**deflated, "offset": deflated["offset"] + 1})
    (manifest.path.parent / "pictures/0").unlink()
    with pytest.raises(DataError, match=r"pictures/0: not readable any more \(No such file"):
        read(plain)


def test_a_bomb_unpacks_to_its_promised_size_only() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = packer.compress(bytes(50 << 20)) + packer.flush()
    assert len(inflate(bomb, 1000)) == 1001


def test_an_archive_that_ends_early(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"short")
    facts = {"file": "a", "bytes": 350, "sha256": hashlib.sha256(WORDS[0]).hexdigest(), "offset": 0}
    with pytest.raises(DataError, match="plain/a: changed"):
        Opener([tmp_path / "plain"])(facts)
