"""`palette train` as it is run: files, kill -9, several processes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from palette.files import sha256
from palette.spec import Runtime, TrainSpec
from palette.stage import verify
from palette.training import distributed
from palette.verbs import train
from tests.tiny import prepared, stage, train_spec


def command(spec: Path, *launcher: str) -> list[str]:
    return [sys.executable, *launcher, "-m", "palette", "train", "-c", str(spec)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that was left alone."""
    results = prepared(tmp_path_factory.mktemp("results"))
    one = stage(results, train_spec())
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
        assert TrainSpec.model_validate_json(file.metadata()["spec"]).hash == train_spec().hash
    lines = [json.loads(line) for line in (uninterrupted / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 12]
    card = json.loads((uninterrupted / "card.json").read_text())
    assert set(card["artifacts"]) == {"model.safetensors", "model.json", "log.jsonl"}
    assert card["devices"] == 1


def test_killed_anywhere_it_ends_with_the_same_bytes(uninterrupted: Path, tmp_path: Path) -> None:
    """SIGKILL to a real process after its first saved state, then the same command again."""
    spec = train_spec(runtime=Runtime(checkpoint_every=1))
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
    for name in ("model.safetensors", "model.json"):
        assert one.path(name).read_bytes() == (uninterrupted / name).read_bytes(), name


def test_two_processes_train_the_same_model(uninterrupted: Path, tmp_path: Path) -> None:
    one = stage(prepared(tmp_path), train_spec())
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    done = subprocess.run(command(one.path("spec.yaml"), *launcher), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    alone, together = load_file(uninterrupted / "model.safetensors"), load_file(one.path("model.safetensors"))
    for name, weight in alone.items():
        torch.testing.assert_close(together[name], weight, atol=2e-4, rtol=0)
    assert json.loads(one.path("card.json").read_text())["devices"] == 2


def test_torchrun_is_used_for_several_gpus_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(distributed.os, "execv", lambda _, arguments: started.append(arguments))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    spec = tmp_path / "spec.yaml"
    distributed.relaunch(1, spec)
    assert started == []
    distributed.relaunch(8, spec)
    assert started[0][1:] == [
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"),
        *("-m", "palette", "train", "-c", str(spec)),
    ]
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    distributed.relaunch(8, spec)
    assert len(started) == 1
