"""`palette train` as users run it: files, kill -9, several processes."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from palette.data.store.store import write_store
from palette.errors import DataError
from palette.stages import train
from palette.stages.stage import verify
from palette.stages.train import TrainRuntime, TrainSpec
from palette.system import devices
from palette.system.files import read_json, sha256
from palette.training import distributed, job
from palette.training.distributed import World
from palette.training.trainer import build
from tests.tiny import named, pictures, prepared, stage, train_spec

SPEC = {"ema_widths": (0.0, 0.05, 0.1), "validation_images": 3}


def command(spec: Path, *launcher: str) -> list[str]:
    return [sys.executable, *launcher, "-m", "palette", "train", "-c", str(spec)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that was left alone."""
    results = prepared(tmp_path_factory.mktemp("results"))
    one = stage(results, train_spec(**SPEC))
    train.run(one)
    return one.path("")


def test_files_say_what_they_are(uninterrupted: Path) -> None:
    facts = json.loads((uninterrupted / "model.json").read_text())
    weights = verify(uninterrupted / "card.json", "model.safetensors")
    assert facts["sha256"] == sha256(weights)
    assert facts["step"] == 12
    assert facts["images"] == 96
    assert facts["mix"] == {"colorization": 1.0, "inpainting": 1.0}
    assert facts["attention_at"] == [8]
    assert facts["parameters"] == sum(tensor.numel() for tensor in load_file(weights).values())
    with safe_open(weights, "pt") as file:
        assert TrainSpec.model_validate_json(file.metadata()["spec"]).hash == train_spec(**SPEC).hash
    lines = [json.loads(line) for line in (uninterrupted / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 12]
    card = json.loads((uninterrupted / "card.json").read_text())
    assert set(card["artifacts"]) == {"model.safetensors", "averages.safetensors", "model.json", "log.jsonl"}
    assert card["devices"] == 1


def test_averages_are_the_requested_ones(uninterrupted: Path, tmp_path: Path) -> None:
    averages, main = load_file(uninterrupted / "averages.safetensors"), load_file(uninterrupted / "model.safetensors")
    assert averages.keys() == {f"{width}/{name}" for width in ("0.0", "0.05", "0.1") for name in main}
    assert all(tensor.dtype == torch.float32 for tensor in averages.values())
    raw = torch.load(uninterrupted.parents[1] / "state" / train_spec(**SPEC).state_key / "step-00000012.pt")["network"]
    assert all(torch.equal(averages[f"0.0/{name}"], raw[name]) for name in main)
    assert not torch.equal(averages["0.05/first.weight"], averages["0.1/first.weight"])
    plain = stage(prepared(tmp_path), train_spec(steps=1))
    train.run(plain)
    assert load_file(plain.path("averages.safetensors")) == {}


def test_nan_weights_are_never_written(tmp_path: Path) -> None:
    one = stage(prepared(tmp_path), train_spec())
    trainer = build(one.spec, World(0, 1, torch.device("cpu")))
    trainer.averages[0].fill_(float("nan"))
    with pytest.raises(DataError, match="NaN or infinite values in"):
        job.write_weights(one, trainer)
    assert not one.path("model.safetensors").exists()


SAME = ("model.safetensors", "averages.safetensors", "model.json")


def test_killed_anywhere_it_ends_with_the_same_bytes(uninterrupted: Path, tmp_path: Path) -> None:
    """SIGKILL to a real process after its first saved state, then the same command again."""
    spec = train_spec(**SPEC, runtime=TrainRuntime(checkpoint_every=1))
    one = stage(prepared(tmp_path), spec)
    process = subprocess.Popen(command(one.path("spec.yaml")), stderr=subprocess.DEVNULL)
    state = tmp_path / "state" / spec.state_key
    while process.poll() is None and not list(state.glob("step-*.pt")):
        time.sleep(0.005)
    process.kill()
    assert process.wait() in (-signal.SIGKILL, 0)
    again = subprocess.run(command(one.path("spec.yaml")), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "going on from step" in again.stderr
    for name in SAME:
        assert one.path(name).read_bytes() == (uninterrupted / name).read_bytes(), name


KILLED_WHILE_WRITING = """
import io, os, signal, sys, torch
from palette.cli import main
save = torch.save
def half(state, path):
    if state["step"] == 8:
        save(state, whole := io.BytesIO())
        path.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    save(state, path)
torch.save = half
main(["train", "-c", sys.argv[1]])
"""


def test_killed_while_writing_a_state(uninterrupted: Path, tmp_path: Path) -> None:
    spec = train_spec(**SPEC)
    one = stage(prepared(tmp_path), spec)
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(one.path("spec.yaml"))], check=False)
    assert killed.returncode == -signal.SIGKILL
    state = tmp_path / "state" / spec.state_key
    assert sorted(file.name.split(".")[1] for file in state.glob(".*.tmp")) == ["step-00000008"]
    assert [file.name for file in state.glob("step-*")] == ["step-00000004.pt"]
    train.run(one)
    assert not list(state.glob(".*.tmp"))
    for name in SAME:
        assert one.path(name).read_bytes() == (uninterrupted / name).read_bytes(), name


def assert_close(folder: Path, uninterrupted: Path) -> None:
    """All averages within 2e-5, where a step of Adam is up to 1e-3; measured: 7e-7."""
    for name in ("model.safetensors", "averages.safetensors"):
        found, expected = load_file(folder / name), load_file(uninterrupted / name)
        for key, weight in expected.items():
            torch.testing.assert_close(found[key], weight, atol=2e-5, rtol=0)
    losses = [json.loads((f / "log.jsonl").read_text().splitlines()[-1]) for f in (folder, uninterrupted)]
    assert losses[0]["validation_loss"] == pytest.approx(losses[1]["validation_loss"], abs=1e-4)


@pytest.fixture
def handlers() -> Iterator[None]:
    """torch's launcher leaves its signal handlers behind."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_several_gpus_train_the_same_model(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two processors in the place of GPUs."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    one = stage(prepared(tmp_path), train_spec(**SPEC, runtime=TrainRuntime(gpus=2)))
    train.run(one)
    assert_close(one.path(""), uninterrupted)
    logs = [
        [json.loads(line) for line in (f / "log.jsonl").read_text().splitlines()] for f in (one.path(""), uninterrupted)
    ]
    assert [line["loss"] for line in logs[0]] == pytest.approx([line["loss"] for line in logs[1]], abs=1e-4)
    assert json.loads(one.path("card.json").read_text())["devices"] == 2


RANK_KILLED = """
import os, signal, sys
from palette.cli import main
from palette.training.trainer import Trainer
update = Trainer.update
def mortal(self, prepared):
    if self.step == 6 and self.world.rank == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return update(self, prepared)
Trainer.update = mortal
sys.exit(main(["train", "-c", sys.argv[1]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_any_of_two_processes_killed_and_resumed_by_one(uninterrupted: Path, tmp_path: Path, rank: int) -> None:
    one = stage(prepared(tmp_path), train_spec(**SPEC))
    (tmp_path / "mortal.py").write_text(RANK_KILLED)
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    program = (str(tmp_path / "mortal.py"), str(one.path("spec.yaml")), str(rank))
    killed = subprocess.run([*launcher, *program], capture_output=True, text=True, check=False)
    assert killed.returncode != 0
    assert not one.path("model.safetensors").exists()
    train.run(one)
    assert_close(one.path(""), uninterrupted)
    assert len(one.path("log.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
def test_two_nodes_resume_the_training_of_one_process(uninterrupted: Path, tmp_path: Path) -> None:
    """torchrun, started by hand on each machine; here both are this one."""
    train.run(stage(prepared(tmp_path), train_spec(**SPEC, steps=6)))
    one = stage(tmp_path, train_spec(**SPEC))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = ("-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", f"--master-port={port}")
    nodes = [
        subprocess.Popen(
            command(one.path("spec.yaml"), *shared, "--master-addr=localhost", f"--node-rank={rank}"),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (1, 0)
    ]
    said = [node.communicate(timeout=300)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert "going on from step 6" in said[1]
    assert_close(one.path(""), uninterrupted)
    assert json.loads(one.path("card.json").read_text())["devices"] == 2


@pytest.mark.slow
def test_training_of_eight_processes_resumes_on_four_and_on_one(uninterrupted: Path, tmp_path: Path) -> None:
    prepared(tmp_path)
    for processes, steps in ((8, 4), (4, 8), (1, 12)):
        one = stage(tmp_path, train_spec(**SPEC, steps=steps))
        launcher = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
        run = subprocess.run(command(one.path("spec.yaml"), *launcher), capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr[-3000:]
        assert ("going on from step" in run.stderr) == (steps > 4)
        assert json.loads(one.path("card.json").read_text())["devices"] == processes
    assert_close(one.path(""), uninterrupted)


LAUNCHED = """
import sys
from palette.errors import UserError
from palette.training.distributed import launch
try:
    launch(2, ["-c", sys.argv[1]])
except UserError as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize(
    ("code", "stop", "ends", "says"),
    [
        (
            "import os, sys; os.write(1, b'up\\n'); sys.exit(3 * int(os.environ['RANK']))",
            None,
            3,
            "process 1 of 2 ended",
        ),
        ("import os, time; os.write(1, b'up\\n'); time.sleep(60)", signal.SIGINT, 75, "stopped by SIGINT"),
        ("import os; os.write(1, b'up\\n'); os.abort()", None, 1, "was ended by signal 6"),
    ],
    ids=["error", "ctrl-c", "crash"],
)
def test_the_exit_code_comes_through_the_launcher(code: str, stop: Any, ends: int, says: str) -> None:
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHED, code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "up\n"
    if stop is not None:
        assert launcher.stdout.readline() == "up\n"  # both: torch forgets a process that it is still starting
        launcher.send_signal(stop)
    out, err = launcher.communicate(timeout=60)
    assert launcher.returncode == ends, err
    assert says in out


def test_several_processes_only_for_several_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[tuple[int, list[str], distributed.Nodes]] = []
    monkeypatch.setattr(distributed, "launch", lambda *arguments: launched.append(arguments))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    spec = tmp_path / "spec.yaml"
    assert not distributed.relaunch(1, spec)
    assert launched == []
    assert distributed.relaunch(8, spec)
    assert launched == [(4, ["-m", "palette", "train", "-c", str(spec)], distributed.nodes())]
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert not distributed.relaunch(8, spec)
    assert len(launched) == 1


def test_each_process_has_the_device_of_its_local_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("RANK", "11")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert devices.local_device() == torch.device("cuda", 3)


def test_on_several_datasets_it_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    """Stopped in the middle, in process; then the same stage again."""
    mixed: dict[str, Any] = {
        "parents": {"prepare-one": "prepare/tiny", "prepare-two": "prepare/second"},
        "sources": {"prepare-one": 0.25, "prepare-two": 0.75},
        "validation_images": 2,
    }
    written = []
    for name, stops in (("whole", (12,)), ("cut", (5, 12))):
        results = prepared(tmp_path / name)
        second = results / "prepare/second/train.zip"
        write_store(second, named(pictures(9, seed=5)), ["even", "odd"])
        for steps in stops:
            one = stage(results, train_spec(**mixed, steps=steps))
            train.run(one)
        written.append(one.path("model.safetensors").read_bytes())
        assert read_json(one.path("card.json"))["parents"].keys() == mixed["parents"].keys()
    assert written[0] == written[1]
