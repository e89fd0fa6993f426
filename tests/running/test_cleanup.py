"""`palette gc` deletes what no config refers to, and never anything else."""

import errno
import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from palette.cli import main
from palette.config import Config
from palette.errors import ConfigError
from palette.planning.plan import Plan
from palette.running.cleanup import find
from palette.running.start import start
from palette.running.status import SILENCE
from palette.stages.prepare import PrepareSpec
from palette.stages.released import ReleasedSpec
from palette.stages.train import TrainSpec
from tests.costs.conftest import RAW, finish

LONGER = {"palette": {**RAW["models"]["palette"], "train": {"steps": 1000, "learning_rate": 1e-3}}}


def config(folder: Path, name: str, **changes: Any) -> Path:
    file = folder / name
    file.write_text(json.dumps({**RAW, "results": str(folder / "results"), **changes}))
    return file


def plan(file: Path) -> Plan:
    return Plan(Config.model_validate(json.loads(file.read_text())))


def populate(file: Path) -> Plan:
    """Every stage made, with its training states and logs."""
    made = plan(file)
    finish(made)
    for spec in made.stages.values():
        log = made.results / f"logs/{spec.folder}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("log")
        log.with_name(f".{log.name}").unlink(missing_ok=True)
        log.with_name(f".{log.name}").hardlink_to(log)  # as `workflow/bin/into` keeps it
        if isinstance(spec, PrepareSpec | ReleasedSpec):
            for name in (".parts/train.zip", ".model.json.lock"):
                (made.results / spec.folder / name).parent.mkdir(exist_ok=True)
                (made.results / spec.folder / name).write_text("in the making")
        if isinstance(spec, TrainSpec):
            state = made.results / "state" / spec.state_key
            (state / "previews").mkdir(parents=True)
            for name in ("step-00000500.pt", "log.jsonl", "lock", "heartbeat.json", "previews/step-00000500.png"):
                (state / name).write_text("state")
    return made


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} - {"results/.lock"}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The config whose results lie there."""
    file = config(tmp_path, "old.yaml")
    populate(file)
    return file


def test_lists_by_default_and_deletes_on_request(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, new = files(old.parent), config(old.parent, "new.yaml", models=LONGER)
    assert main(["gc", "-c", str(new)]) == 0
    assert "could go; --delete removes them" in capsys.readouterr().out
    assert files(old.parent) == before | {"new.yaml"}
    assert main(["gc", "-c", str(new), "--delete"]) == 0
    kinds = {file.split("/")[1] for file in files(old.parent) if file.startswith("results/")}
    assert kinds == {"fetch", "prepare", "mask", "extractor", "features", "statistics", "tabulate", "report", "logs"}
    (originals,) = (old.parent / "results/features").iterdir()
    assert originals.name.startswith("photos-originals-photos-")
    assert not list((old.parent / "results/state").iterdir())


def test_results_of_the_config_are_kept(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(old.parent)
    assert main(["gc", "-c", str(old), "--delete"]) == 0
    assert files(old.parent) == before
    assert "Nothing to delete" in capsys.readouterr().out


def test_several_configs_are_combined(old: Path) -> None:
    new = config(old.parent, "new.yaml", models=LONGER)
    populate(new)
    before = files(old.parent)
    assert main(["gc", "-c", str(new), "-c", str(old), "--delete"]) == 0
    assert files(old.parent) == before
    assert main(["gc", "-c", str(new), "--delete"]) == 0
    assert files(old.parent) < before
    assert all((new.parent / "results" / output).exists() for s in plan(new).stages for output in plan(new).outputs(s))


def test_a_table_that_is_in_no_config_is_removed(old: Path) -> None:
    results, scores = old.parent / "results", old.parent / "results/tabulate/scores"
    extra = scores / "notes.txt"
    extra.write_text("mine")
    assert (scores / "scores.csv").exists()
    assert main(["gc", "-c", str(config(old.parent, "new.yaml", tables={"other": {}})), "--delete"]) == 0
    assert list(scores.iterdir()) == [extra]
    assert (results / "report/index.html").exists()


def test_different_results_folders_are_refused(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = config(old.parent, "other.yaml", results=str(old.parent / "elsewhere"))
    assert main(["gc", "-c", str(old), "-c", str(other)]) == 2
    assert "different results folders" in capsys.readouterr().err


def test_unrecognized_files_are_never_touched(old: Path) -> None:
    results = old.parent / "results"
    train = next((results / "train").iterdir())
    state = next((results / "state").iterdir())
    foreign = [
        train / "notes.txt",
        train / "deeper/step-00000001.pt",
        state / "mine.pt",
        results / "train/best-model/model.safetensors",  # no hash
        results / "train/mine-0123456789/model.safetensors",  # a hash, but no spec
        results / "state/backup/step-00000500.pt",
        results / "logs/train/readme.log",
        results / "logs/mine-0123456789.log",
        results / "papers/mine-0123456789/card.json",
        results / "report/extra.html",
    ]
    for file in foreign:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    (results / "sample/link-0123456789").symlink_to(old.parent)
    new = config(old.parent, "new.yaml", models=LONGER)
    assert main(["gc", "-c", str(new), "--delete"]) == 0
    assert all(file.read_text() == "mine" for file in foreign)
    assert not (train / "model.safetensors").exists()
    assert not (state / "step-00000500.pt").exists()
    assert (results / "sample/link-0123456789").is_symlink()
    assert old.exists()


def test_a_folder_with_the_spec_of_another_stage_is_kept(old: Path) -> None:
    results = old.parent / "results"
    first, second = sorted((results / "train").iterdir())
    (first / "spec.yaml").write_bytes((second / "spec.yaml").read_bytes())
    assert main(["gc", "-c", str(config(old.parent, "new.yaml", models=LONGER)), "--delete"]) == 0
    assert (first / "model.safetensors").exists()
    assert not second.exists()


def test_recent_results_are_kept(old: Path) -> None:
    new = plan(config(old.parent, "new.yaml", models=LONGER))
    for file in (old.parent / "results/sample").rglob("*"):
        os.utime(file, (time.time() - 10 * 86400,) * 2)
    assert {heap.folder.parent.name for heap in find([new], keep_days=7)} == {"sample"}
    assert main(["gc", "--keep-days", "-1"]) == 2
    assert {heap.folder.parent.name for heap in find([new])} > {"sample", "train", "state"}


def test_refused_during_a_run(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (old.parent / "results/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["gc", "-c", str(old), "--delete"]) == 2
    assert "a snakemake is running" in capsys.readouterr().err


def test_a_state_in_use_is_kept(old: Path) -> None:
    state = next((old.parent / "results/state").iterdir())
    with (state / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["gc", "-c", str(config(old.parent, "new.yaml", models=LONGER)), "--delete"]) == 0
    assert (state / "step-00000500.pt").exists()


@pytest.mark.parametrize("beats", [True, False])
def test_without_file_locks_the_heartbeat_decides(
    beats: bool, old: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr("palette.system.locks._warned", set())
    states = list((old.parent / "results/state").iterdir())
    for state in states:
        if not beats:
            os.utime(state / "heartbeat.json", (time.time() - SILENCE - 60,) * 2)
    assert main(["gc", "-c", str(config(old.parent, "new.yaml", models=LONGER)), "--delete"]) == 0
    assert [(state / "step-00000500.pt").exists() for state in states] == [beats] * len(states)
    assert capsys.readouterr().err.count("has no file locks") == 1


def test_a_run_starts_without_file_locks(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)
    os.close(start(plan(old)))
    monkeypatch.undo()
    lock = start(plan(old))
    with pytest.raises(ConfigError, match="another snakemake is running"):
        start(plan(old))
    os.close(lock)


def test_no_results_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gc", "-c", str(config(tmp_path, "c.yaml"))]) == 2
    assert "no such folder" in capsys.readouterr().err
