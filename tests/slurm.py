"""Runs a SLURM cluster of one node on this machine, with daemons of its own that end with it."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "squeue", "scancel", "scontrol")
# Root's own daemons are not on everybody's path.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

# cred_expire, sched_interval: how long a requeued job waits, 120 s by default, and is then not noticed.
# OverMemoryKill: memory is held to what a job asked for without cgroups, which a container may not offer.
_CONF = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1
ReturnToService=2
KillWait=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=16000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES DefaultTime=30 MaxTime=120 State=UP
PartitionName=closed Nodes=ALL MaxTime=120 State=DOWN
"""


def missing() -> str:
    """Why there can be no SLURM here, as a sentence; empty where there can."""
    if os.geteuid() != 0:
        return "a SLURM cluster of one node needs root"
    gone = [name for name in (*DAEMONS, *COMMANDS) if shutil.which(name, path=_PATH) is None]
    if gone:
        return f"no {gone[0]} here: apt-get install munge slurmctld slurmd slurm-client"
    return ""


def or_skip() -> None:
    """Skip the test that asks where there is no SLURM; fail it where the machine is said to have one."""
    why = missing()
    if why and os.environ.get("SWEEPROUTE_EXPECT_SLURM") == "1":
        pytest.fail(f"SWEEPROUTE_EXPECT_SLURM=1, and {why}")
    if why:
        pytest.skip(why)


@contextmanager
def one_node() -> Iterator[Path]:
    """A running cluster; SLURM_CONF leads this process and its children to it.

    Yields:
        The cluster's folder: its configuration, its logs.
    """
    # Not under pytest's folder: a socket's path is limited to about 100 characters.
    folder = Path(tempfile.mkdtemp(prefix="slurm"))
    folder.chmod(0o755)
    try:
        with ExitStack() as stack:
            conf = _configure(folder)
            stack.enter_context(
                _daemon(
                    folder,
                    "munged",
                    "--foreground",
                    "--force",
                    f"--socket={folder}/munge.socket",
                    f"--key-file={folder}/munge.key",
                    f"--log-file={folder}/munged.log",
                    f"--pid-file={folder}/munged.pid",
                    f"--seed-file={folder}/munged.seed",
                )
            )
            wait_for("munged", folder, lambda: (folder / "munge.socket").exists())
            stack.enter_context(_daemon(folder, "slurmctld", "-D", "-f", str(conf)))
            stack.enter_context(_daemon(folder, "slurmd", "-D", "-f", str(conf)))
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setenv("SLURM_CONF", str(conf))
            wait_for("the node", folder, lambda: "idle" in _said("sinfo", "--noheader", "--format=%T", "-p", "main"))
            stack.callback(_empty, folder)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _configure(folder: Path) -> Path:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], other.getsockname()[1]
    # SLURM wants a device, and looks no further.
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    conf = folder / "slurm.conf"
    host = socket.gethostname().split(".")[0]
    conf.write_text(_CONF.format(folder=folder, host=host, controller_port=ports[0], node_port=ports[1]))
    return conf


@contextmanager
def _daemon(folder: Path, name: str, *arguments: str) -> Iterator[None]:
    program = shutil.which(name, path=_PATH)
    assert program is not None
    with (folder / f"{name}.out").open("wb") as out:
        process = subprocess.Popen([program, *arguments], stdout=out, stderr=out, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _empty(folder: Path) -> None:
    """End every job, so that none outlives the daemon that watches it."""
    subprocess.run(["scancel", "--me"], check=False)
    wait_for("the last job's end", folder, lambda: not _said("squeue", "--noheader"))


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def wait_for(what: str, folder: Path, ready: Callable[[], object]) -> None:
    """Wait until something is so, and fail with the logs in a folder where it does not come."""
    give_up = time.monotonic() + 30
    while not ready():
        if time.monotonic() > give_up:
            logs = {path.name: path.read_text(errors="replace")[-2000:] for path in folder.glob("*.out")}
            pytest.fail(f"{what} did not come within 30 s: {logs}")
        time.sleep(0.02)
