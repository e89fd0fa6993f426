"""Copies of stores on a local disk: complete, made once, deleted by the last process, without effect on results."""

import errno
import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from palette.data.store.store import write_store
from palette.errors import ConfigError, DataError
from palette.stages import train as verb
from palette.system.files import sha256
from palette.training import scratch
from palette.training.scratch import local
from palette.training.stream import Stream, open_images
from tests.tiny import SIZE, named, pictures, prepared, stage, train_spec


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "results/prepare/tiny/train.zip"
    write_store(path, named(pictures(20)), ["even", "odd"])
    write_card(path)
    return path


def write_card(path: Path) -> None:
    facts = {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size}}
    path.with_name("card.json").write_text(json.dumps({"artifacts": facts}))


def test_a_copy_is_made_and_deleted(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "node"))
    with local([store], store.with_name("card.json"), "$NODE_DISK/palette") as (copy,):
        assert copy.is_relative_to(tmp_path / "node/palette")
        assert copy.read_bytes() == store.read_bytes()
    assert not list((tmp_path / "node/palette").glob("*/*"))


def test_without_scratch_there_is_no_copy(store: Path) -> None:
    with local([store], store.with_name("card.json"), None) as paths:
        assert paths == [store]


def _reader(store: Path, folder: Path, barrier: "multiprocessing.synchronize.Barrier") -> str:
    with local([store], store.with_name("card.json"), str(folder)) as (copy,):
        barrier.wait(30)
        assert copy != store
        return sha256(copy)


def _read(
    store: Path, folder: Path, barrier: "multiprocessing.synchronize.Barrier", found: "multiprocessing.Queue[str]"
) -> None:
    found.put(_reader(store, folder, barrier))


def test_processes_of_a_machine_share_one_copy(store: Path, tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    barrier, found = fork.Barrier(3), fork.Queue()
    processes = [fork.Process(target=_read, args=(store, tmp_path / "node", barrier, found)) for _ in range(3)]
    for process in processes:
        process.start()
    assert {found.get(timeout=60) for _ in processes} == {sha256(store)}
    for process in processes:
        process.join(60)
    assert not list((tmp_path / "node").glob("*/*"))


def test_the_copy_of_a_killed_process_is_used(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with local([store], store.with_name("card.json"), str(tmp_path / "node")) as (copy,):
        left = {copy: copy.read_bytes(), copy.with_suffix(".unfinished"): b"half"}
    capsys.readouterr()
    copy.parent.mkdir()
    for path, content in left.items():
        path.write_bytes(content)
    with local([store], store.with_name("card.json"), str(tmp_path / "node")) as (again,):
        assert again == copy
    assert "copying" not in capsys.readouterr().err
    assert not list((tmp_path / "node").glob("*/*"))


def test_a_copy_that_differs_is_refused(store: Path, tmp_path: Path) -> None:
    data = bytearray(store.read_bytes())
    data[300] ^= 1
    store.write_bytes(data)
    with (
        pytest.raises(DataError, match=r"train\.zip: not the file that its card describes"),
        local([store], store.with_name("card.json"), str(tmp_path / "node")),
    ):
        pass


def test_a_disk_without_room(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with local([store], store.with_name("card.json"), str(tmp_path / "node")) as paths:
        assert paths == [store]
    assert "no room for train.zip" in capsys.readouterr().err


def test_a_disk_that_fills_up_while_copying(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(source: Path, target: Path) -> str:
        target.write_bytes(b"half")
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(scratch, "_copy_bytes", refuse)
    with local([store], store.with_name("card.json"), str(tmp_path / "node")) as paths:
        assert paths == [store]
        assert not list((tmp_path / "node").glob("*/*.unfinished"))
    assert "no room for train.zip" in capsys.readouterr().err


def test_an_unset_variable(store: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"'\$NOWHERE/x' names \$NOWHERE"),
        local([store], store.with_name("card.json"), "$NOWHERE/x"),
    ):
        pass


def test_scratch_changes_no_weight(tmp_path: Path) -> None:
    weights = []
    for name, changes in (("here", {}), ("there", {"scratch": str(tmp_path / "node")})):
        results = prepared(tmp_path / name)
        write_card(results / "prepare/tiny/train.zip")
        spec = train_spec(steps=2)
        made = stage(results, spec.model_copy(update={"runtime": spec.runtime.model_copy(update=changes)}))
        verb.run(made)
        weights.append(made.path("model.safetensors").read_bytes())
    assert weights[0] == weights[1]


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (2, 2), (4, 1)])
def test_an_epoch_shows_each_image_once(store: Path, world: int, accumulate: int) -> None:
    """Over all ranks and micro-batches, whatever their number."""
    from palette.training.stream import slices

    mix = {"colorization": 1.0}
    with open_images(store, mix) as images:  # type: ignore[arg-type]
        stream = Stream(images, mix, 0, 4, SIZE, flip=False)  # type: ignore[arg-type]
        for epoch in range(3):
            seen = [
                stream.image_index(step * 4 + place)
                for step in range(5 * epoch, 5 * epoch + 5)
                for rank in range(world)
                for part in slices(4, rank, world, accumulate)
                for place in part
            ]
            assert sorted(seen) == list(range(20))
    assert np.array_equal(images[3], pictures(20)[3])
