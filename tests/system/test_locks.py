"""File locks: only another process counts as a holder, on file systems with locks, with NFS locks, or without."""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from palette.data.store.store import write_store
from palette.running.cleanup import alone as without_snakemake
from palette.system import locks
from palette.system.download import alone
from palette.system.locks import held, open_lock, take
from palette.training.checkpoint import States
from palette.training.scratch import local
from tests.tiny import named, pictures
from tests.training.test_scratch import write_card


def failing(number: int) -> Callable[[int, int], None]:
    """`flock` where it ends with this error."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    return flock


def as_on_nfs(descriptor: int, operation: int, flock: Callable[[int, int], None] = fcntl.flock) -> None:
    """`flock` of NFS, which makes it of locks that want an exclusive one to be written and a shared one to be read."""
    mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
    if mode == (os.O_RDONLY if operation & fcntl.LOCK_EX else os.O_WRONLY):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    flock(descriptor, operation)


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_warned", set())


def test_another_holder_is_distinguished_from_none(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second = open_lock(path), open_lock(path)
    assert take(first, path, shared=True)
    assert take(second, path, shared=True)
    assert take(first, path) is False
    os.close(second)
    assert take(first, path)
    os.close(first)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_once(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(number))
    for name in ("a", "b"):
        with held(tmp_path / name / "lock", "waiting for another") as waited:
            assert not waited
    said = capsys.readouterr().err
    assert said.count("has no file locks, so nothing keeps two runs apart. Start only one") == 1
    assert said.startswith(f"{tmp_path / 'a'}: ")
    assert "waiting" not in said


@pytest.mark.parametrize("number", [errno.EIO, errno.EBADF, errno.ESTALE])
def test_any_other_failure_is_not_another_holder(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(number))
    with pytest.raises(OSError, match="lock") as error, held(tmp_path / "lock"):
        pass
    assert (error.value.errno, error.value.filename) == (number, str(tmp_path / "lock"))


@pytest.mark.parametrize("flock", [as_on_nfs, failing(errno.ENOSYS)], ids=["nfs", "none"])
def test_every_lock_works_there(
    flock: Callable[[int, int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", flock)
    store = tmp_path / "prepare/tiny/train.zip"
    write_store(store, named(pictures(2)), ["even", "odd"])
    write_card(store)
    with (
        without_snakemake(tmp_path),
        States(tmp_path / "state").lock(),
        alone(tmp_path / "download"),
        local([store], store.with_name("card.json"), str(tmp_path / "scratch")) as (copy,),
    ):
        assert copy.read_bytes() == store.read_bytes()
    assert copy.exists() == (flock is not as_on_nfs)  # nobody can tell whether others read it
