"""Fewer devices than planned, several nodes, forwarding of signals; for torch's part, see tests/stages/test_train.py."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from palette.errors import ConfigError
from palette.stages.train import TrainRuntime
from palette.training import distributed, machine
from palette.training.distributed import Nodes, World
from palette.training.loop import train
from palette.training.stream import micro_batches
from tests.tiny import NETWORK, pictures, train_spec
from tests.training.test_machine import CPU


@pytest.mark.parametrize(
    ("planned", "accumulate", "there", "expected"),
    [(4, 1, 4, 1), (4, 1, 2, 2), (4, 3, 1, 12), (4, 1, 3, 2), (1, 2, 4, 2)],
)
def test_fewer_devices_take_more_micro_batches(planned: int, accumulate: int, there: int, expected: int) -> None:
    spec = train_spec(accumulate=accumulate, runtime=TrainRuntime(gpus=planned))
    assert micro_batches(spec, there) == expected


def test_nodes_count_among_the_planned_devices() -> None:
    assert micro_batches(train_spec(runtime=TrainRuntime(gpus=2, nodes=2)), 1) == 4


def test_one_device_draws_the_same_dropout_as_the_planned_four(tmp_path: Path) -> None:
    """The same parts of the batch, whether four devices were planned or four micro-batches."""
    network = NETWORK.model_copy(update={"dropout": 0.3})
    clipped = train_spec(network=network, runtime=TrainRuntime(gpus=4))
    parts = train_spec(network=network, accumulate=4)
    one, four = (train(s, pictures(20), tmp_path / s.hash, CPU).averaged_weights() for s in (clipped, parts))
    assert all(torch.equal(one[name], four[name]) for name in one)


def test_a_number_of_devices_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"3 devices × 2 micro-batches; planned: 4 devices"):
        machine.check(train_spec(runtime=TrainRuntime(gpus=4)), World(0, 3, torch.device("cpu")))


STEP = {
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_NODEID": "1",
    "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7",
    "SLURM_JOB_ID": "123456",
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Nodes(2, 1, "10.0.0.7:23456")),
        ({"MASTER_ADDR": "node1"}, Nodes(2, 1, "node1:23456")),
        ({"SLURM_STEP_NUM_TASKS": "8"}, Nodes()),  # a task per GPU, which is not our way
        ({"SLURM_STEP_NUM_NODES": "1"}, Nodes()),
    ],
)
def test_the_nodes_of_a_step_meet_at_its_first(
    changes: dict[str, str], expected: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**STEP, **changes}.items():
        monkeypatch.setenv(name, value)
    assert distributed.nodes() == expected


LAUNCHED = """
import sys
from palette.errors import UserError
from palette.training.distributed import launch
try:
    launch(2, ["-c", sys.argv[1]])
except UserError as error:
    sys.exit(error.exit_code)
"""
SAVES = """
import os, signal, time
def save(number, frame):
    os.write(1, f"saved {number}\\n".encode())
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
    signal.signal(number, save)
os.write(1, b"up\\n")
while True:
    time.sleep(1)
"""
WITHOUT_NAME = "import socket; socket.getfqdn = lambda *_: 'nowhere.invalid'"
UNDER_NOHUP = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"


@pytest.mark.skipif(sys.platform != "linux", reason="clusters are")
@pytest.mark.parametrize(
    ("machine", "ignores_sighup"), [(WITHOUT_NAME, False), (UNDER_NOHUP, True)], ids=["nameless", "nohup"]
)
def test_save_signals_reach_the_processes_and_end_nothing(machine: str, ignores_sighup: bool) -> None:
    """Also on a machine whose own name cannot be resolved, for which torch would ask for five minutes."""
    launcher = subprocess.Popen([sys.executable, "-c", machine + LAUNCHED, SAVES], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    assert [launcher.stdout.readline() for _ in range(2)] == ["up\n"] * 2
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):  # later answers show that it goes on
        launcher.send_signal(number)
        if not (number == signal.SIGHUP and ignores_sighup):
            assert [launcher.stdout.readline() for _ in range(2)] == [f"saved {number:d}\n"] * 2
    launcher.send_signal(signal.SIGINT)
    assert launcher.communicate(timeout=60)[0] == ""
    assert launcher.returncode == 75


WAITS = """
import os, sys
from palette.training.distributed import Nodes, launch
os.environ["SLURM_JOB_ID"] = "7"
launch(1, ["-c", "pass"], Nodes(2, 1, sys.argv[1]))
"""


def test_a_node_that_waits_for_the_others_can_be_ended() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first:
        endpoint = f"127.0.0.1:{first.getsockname()[1]}"
        node = subprocess.Popen([sys.executable, "-c", WAITS, endpoint], stderr=subprocess.PIPE, text=True)
        connection, _ = first.accept()  # torch waits for an answer, and Python runs no handler meanwhile
        node.send_signal(signal.SIGTERM)
        _, said = node.communicate(timeout=60)
        connection.close()
    assert node.returncode == -signal.SIGTERM
    assert said == f"node 1 of 2: waiting for the others at {endpoint}\n"
