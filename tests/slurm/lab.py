"""A real Slurm with two nodes on this machine, over loopback, started and stopped by the tests.

slurmctld and two slurmd run as on a cluster. Device files stand in for GPUs: Slurm counts and allocates them, and jobs
compute on the CPU. There is no accounting database.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

NODES = ("node1", "node2")
NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "squeue")
COMMANDS = ("srun", "sbatch", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr")

SLURM_CONF = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# Credentials of 5 s: a job that is queued again waits for 9 s instead of 120.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
PriorityType=priority/basic
GresTypes=gpu
# Once a second, jobs that use more memory than they asked for are killed.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
# What has ended stays in the list for as long as the slowest machine takes for the tests.
MinJobAge=60000
KillWait=2
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
InactiveLimit=0
SlurmctldTimeout=60
SlurmdTimeout=60
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={port1} CPUs=8 RealMemory=64000 Gres=gpu:h100:4 Feature=h100 State=UNKNOWN
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={port2} CPUs=8 RealMemory=64000 Gres=gpu:h100:4 Feature=h100 State=UNKNOWN
PartitionName=gpu Nodes=node1,node2 Default=YES MaxTime=2-0 DefaultTime=10 State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=3
PartitionName=urgent Nodes=node1,node2 MaxTime=2-0 DefaultTime=10 State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing() -> list[str]:
    """The programs that this machine lacks for a lab."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    return [name for name in NEEDED if shutil.which(name, path=path) is None]


def until(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait for a condition; an AssertionError names what did not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the system gives out by itself."""
    found: list[int] = []
    for port in range(26_817 + os.getpid() % 1000, 32_000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")


@dataclass
class Lab:
    """The cluster in a folder of its own."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """With this cluster's commands first on the path."""
        path = os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"], "/usr/sbin"])
        return {**os.environ, "PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def run(self, *command: str, check: bool = True) -> str:
        """Run one of Slurm's commands; return what it prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0 or not check, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    # -- up and down

    def write(self) -> None:
        port, port1, port2 = free_ports(3)
        host = socket.gethostname().partition(".")[0]
        text = SLURM_CONF.format(folder=self.folder, host=host, port=port, port1=port1, port2=port2)
        (self.folder / "slurm.conf").write_text(text)
        lines = (f"NodeName={n} Name=gpu Type=h100 File={self.folder}/dev-{n}/nvidia[0-3]\n" for n in NODES)
        (self.folder / "gres.conf").write_text("".join(lines))
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o400)
        for name in ("state", "bin", *(f"{kind}-{node}" for node in NODES for kind in ("spool", "dev"))):
            (self.folder / name).mkdir()
        for node in NODES:
            for index in range(4):
                os.mknod(self.folder / f"dev-{node}/nvidia{index}", 0o20666, os.makedev(1, 3))
        # A job's step drops all variables of Slurm's, and with them where this cluster's configuration is.
        for name in COMMANDS:
            script = self.folder / "bin" / name
            script.write_text(f'#!/bin/sh\nexport SLURM_CONF={self.folder}/slurm.conf\nexec /usr/bin/{name} "$@"\n')
            script.chmod(0o755)

    def up(self) -> None:
        self.write()
        places = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log"}
        files = [f"--{option}={self.folder / name}" for option, name in {**places, "seed-file": "munge.seed"}.items()]
        self.run("munged", "--force", *files)
        until((self.folder / "munge.socket").exists, "munged")
        self.start_controller()
        for node in NODES:
            self.run("slurmd", "-N", node, "-f", str(self.folder / "slurm.conf"))
        until(
            lambda: len(self.run("sinfo", "-hN", "-p", "gpu", "-t", "idle", "-o", "%N").split()) == 2, "two idle nodes"
        )

    def start_controller(self) -> None:
        self.run("slurmctld", "-f", str(self.folder / "slurm.conf"))
        until(lambda: "UP" in self.run("scontrol", "ping", check=False), "slurmctld")

    def stop(self, daemon: str) -> None:
        """End one of the daemons by its pid file."""
        file = self.folder / f"{daemon}.pid"
        if not file.exists():
            return
        pid = int(file.read_text())
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            with suppress(AssertionError):
                until(lambda: not Path(f"/proc/{pid}").exists(), daemon, 10)
                break
        file.unlink(missing_ok=True)

    def down(self) -> None:
        self.run("scancel", "-u", "root", check=False)
        with suppress(AssertionError):
            until(lambda: not self.run("squeue", "-h"), "the end of all jobs", 20)
        for daemon in (*(f"slurmd.{node}" for node in NODES), "slurmctld", "munged"):
            self.stop(daemon)


@contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """The cluster, up inside of the block."""
    cluster = Lab(folder)
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()
