"""A warm parent forks a process for each job, and what it has forked needs neither it nor the supervisor any more."""

import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from far_side import PATIENCE_S, Fifo, kill, wait_gone
from submitit_ssh.far import job_folder, processes
from submitit_ssh.far.forker import NOT_MINE, cuda_touched, explain
from submitit_ssh.far.frames import Decoder, encode

PROGRAM = "import sys; from submitit_ssh.far.forker import main; main(int(sys.argv[1]), sys.argv[2])"


class Supervisor:
    """Speaks to one parent as the supervisor does."""

    def __init__(self, folder: Path, load: Any = None) -> None:
        self.folder = folder
        self._count = 0
        self._fifos: list[Fifo] = []
        (folder / "locks").mkdir()
        environment = {"path": [str(Path(__file__).parent)], "cwd": str(folder), "entry": "far_entry", "load": load}
        described = folder / "environment.json"
        described.write_text(json.dumps(environment))
        self.channel, theirs = socket.socketpair()
        with theirs:
            self.parent = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(theirs.fileno()), str(described)],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._decoder = Decoder()
        self._said: list[dict[str, Any]] = []

    def says(self) -> dict[str, Any]:
        """What it says next; empty where it has hung up."""
        while not self._said:
            ready, _, _ = select.select([self.channel], [], [], PATIENCE_S)
            assert ready, "it says nothing"
            data = self.channel.recv(65536)
            if not data:
                return {}
            self._said += [header for header, _ in self._decoder.feed(data)]
        return self._said.pop(0)

    def job(self, do: str = "nothing", **fields: Any) -> Path:
        """The folder of a new job."""
        self._count += 1
        folder = self.folder / f"job{self._count}"
        (folder / "out").mkdir(parents=True)
        task = {"argument": {"do": do, "runs": str(self.folder / "runs"), **fields}, "inputs": {}}
        (folder / "spec.json").write_text("{}\n" + json.dumps(task) + "\n")
        return folder

    def start(self, *jobs: Path, here: bool = False) -> None:
        """Have jobs started with one message, each with the lock of a slot, of which nothing is kept here."""
        message, locks = b"", []
        for job in jobs:
            locks.append(os.open(self.lock(job), os.O_RDWR | os.O_CREAT))
            fcntl.flock(locks[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            message = encode({"id": job.name, "folder": str(job), "store": "", "slot": 0, "gpus": [], "here": here})
            socket.send_fds(self.channel, [message], [locks[-1]])
        for lock in locks:
            os.close(lock)

    def lock(self, job: Path) -> Path:
        return self.folder / "locks" / job.name

    def locked(self, job: Path) -> bool:
        """Whether somebody holds the lock of a job's slot."""
        descriptor = os.open(self.lock(job), os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def fifo(self) -> Fifo:
        self._fifos.append(Fifo(self.folder / f"fifo{len(self._fifos)}"))
        return self._fifos[-1]

    def close(self) -> None:
        self.channel.close()
        self.parent.kill()
        self.parent.wait()
        for fifo in self._fifos:
            fifo.close()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    one = Supervisor(tmp_path)
    yield one
    one.close()


def result(job: Path) -> Any:
    return json.loads((job / "result.json").read_text().splitlines()[1])


def test_a_job_is_forked_runs_once_and_is_reaped_before_its_end_is_said(supervisor: Supervisor) -> None:
    assert supervisor.says() == {"op": "ready", "touched": ""}
    jobs = [supervisor.job(value=number) for number in range(5)]
    supervisor.start(*jobs)
    pids: dict[str, int] = {}
    ended: set[str] = set()
    while len(ended) < len(jobs):
        said = supervisor.says()
        if said["op"] == "started":
            pids[said["id"]] = said["pid"]
        else:
            assert (said["op"], said["code"], said["signal"]) == ("ended", 0, None)
            ended.add(said["id"])
            assert not Path(f"/proc/{pids[said['id']]}").exists()
    for number, job in enumerate(jobs):
        assert result(job) == number
        run = json.loads((job / "run.json").read_text())
        assert run["pid"] == pids[job.name]
        assert run["boot_id"] == processes.boot_id()
        assert not supervisor.locked(job)
        for file in job.iterdir():
            assert file.is_dir() or file.read_bytes().endswith(b"\n")
            assert not file.name.endswith("~")


@pytest.mark.parametrize("first", ["another process", "a recall"])
def test_a_job_that_somebody_else_has_does_not_run(supervisor: Supervisor, first: str) -> None:
    supervisor.says()
    job = supervisor.job()
    if first == "a recall":
        job.rename(supervisor.folder / "gone")
    else:
        assert job_folder.claim(job, job_folder.Run(1, 1, "", 0, [], 0.0, 0.0))
    supervisor.start(job)
    assert supervisor.says()["op"] == "started"
    assert supervisor.says()["code"] == NOT_MINE
    assert not (supervisor.folder / "runs").exists()


@pytest.mark.parametrize("dies", ["the supervisor", "the parent"])
def test_a_job_goes_on_and_keeps_its_slot_whoever_dies(supervisor: Supervisor, dies: str) -> None:
    supervisor.says()
    tell, until = supervisor.fifo(), supervisor.fifo()
    job = supervisor.job("wait", tell=str(tell.path), until=str(until.path))
    supervisor.start(job)
    pid = supervisor.says()["pid"]
    assert tell.line() == "running"
    if dies == "the supervisor":
        supervisor.channel.close()
    else:
        supervisor.parent.kill()
    supervisor.parent.wait(PATIENCE_S)
    assert supervisor.locked(job)
    until.say("alone")
    wait_gone(pid)
    assert result(job) == "alone"
    assert not supervisor.locked(job)


def test_a_stopped_job_keeps_its_slot_and_a_killed_one_frees_it(supervisor: Supervisor) -> None:
    supervisor.says()
    tell, until = supervisor.fifo(), supervisor.fifo()
    job = supervisor.job("wait", tell=str(tell.path), until=str(until.path))
    supervisor.start(job)
    pid = supervisor.says()["pid"]
    assert tell.line() == "running"
    os.kill(pid, signal.SIGSTOP)
    assert supervisor.locked(job)
    os.kill(pid, signal.SIGKILL)
    assert supervisor.says()["signal"] == signal.SIGKILL
    assert not supervisor.locked(job)


def test_what_a_job_started_in_its_group_is_dead_when_its_end_is_said(supervisor: Supervisor) -> None:
    supervisor.says()
    tell = supervisor.fifo()
    supervisor.start(job := supervisor.job("family", tell=str(tell.path), **{"return": True}))
    family = [int(word) for word in tell.line().split()]
    assert supervisor.says()["op"] == "started"
    assert supervisor.says()["op"] == "ended"
    wait_gone(family[1])
    for pid in family[2:]:  # left their group: not this process's to find
        kill(pid)
    assert not supervisor.locked(job)


def test_an_environment_that_fails_is_said_with_its_traceback(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, load="raise")
    said = supervisor.says()
    assert said["op"] == "failed"
    assert said["message"].splitlines()[0] == "ImportError: no module named nowhere"
    assert "far_entry.py" in said["message"]
    assert supervisor.says() == {}
    assert supervisor.parent.wait(PATIENCE_S) == 0
    supervisor.close()


def test_a_parent_that_has_touched_cuda_becomes_the_job(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, load={"cuda": str(tmp_path / "libcuda.so.1")})
    assert supervisor.says() == {"op": "ready", "touched": "libcuda.so.1"}
    job = supervisor.job("signals")
    supervisor.start(job, here=True)
    assert supervisor.parent.wait(PATIENCE_S) == 0
    found = result(job)
    assert (found["pid"], found["session"]) == (supervisor.parent.pid, True)
    assert (found["wakeup"], found["blocked"]) == (-1, 0)
    assert not supervisor.locked(job)
    supervisor.close()


def test_a_process_that_has_not_touched_cuda_is_not_taken_for_one_that_has() -> None:
    assert cuda_touched() == ""


def test_an_error_is_told_by_type_and_message_first() -> None:
    assert explain(KeyError("there")).splitlines()[0] == "KeyError: 'there'"
    assert explain(ValueError()).splitlines()[0] == "ValueError"


def test_nothing_is_left_of_what_the_parent_did_to_be_warm(supervisor: Supervisor) -> None:
    supervisor.says()
    assert sorted(path.name for path in supervisor.folder.iterdir()) == ["environment.json", "locks"]
