"""Speaks to a far side that runs on this machine, through the same first bytes and the same relay as over ssh."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from submitit_ssh import boot
from submitit_ssh.far.frames import MARKER, Decoder, encode
from submitit_ssh.far.processes import start_time

PATIENCE_S = 20.0
SPEC_FIELDS = {
    *("live", "kept", "memory_gb", "gpu_memory_gb", "gpus", "alone", "timeout_s", "memory_limit_gb", "inputs", "label")
}


class Gone(Exception):
    """The other end has closed."""


class Fifo:
    """A line of text from a job, or to it; whoever waits for it waits in the kernel."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._heard = b""

    def say(self, text: str) -> None:
        os.write(self._descriptor, f"{text}\n".encode())

    def line(self) -> str:
        while b"\n" not in self._heard:
            ready, _, _ = select.select([self._descriptor], [], [], PATIENCE_S)
            assert ready, f"nobody has written to {self.path}"
            self._heard += os.read(self._descriptor, 65536)
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Near:
    """A near side with one connection, of one owner."""

    def __init__(
        self,
        root: Path,
        owner: str = "me",
        python: str = sys.executable,
        shell: str = "sh",
        cwd: Path = Path("/"),
        variables: Mapping[str, str] = os.environ,
        patience_s: float | None = None,
    ) -> None:
        self.owner = owner
        self.patience_s = patience_s
        self.root = root
        self.process = subprocess.Popen(
            [shell, "-c", boot.command(python)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            cwd=cwd,
            env=variables,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._decoder = Decoder()
        self._chatter: bytes | None = b""
        self._n = 0
        self.heard: list[tuple[dict[str, Any], bytes]] = []
        self.write(boot.payload(str(root)))

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Gone from None

    def hello(self) -> dict[str, Any]:
        return self.ask("hello", owner=self.owner, protocol=1, patience_s=self.patience_s)

    def send(self, op: str, payload: bytes = b"", **fields: Any) -> int:
        self._n += 1
        self.write(encode({"op": op, "n": self._n, **fields}, payload))
        return self._n

    def ask(self, op: str, payload: bytes = b"", **fields: Any) -> dict[str, Any]:
        n = self.send(op, payload, **fields)
        return self.wait(lambda header: header.get("re") == n)

    def wait(self, wanted: Callable[[dict[str, Any]], bool], patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Take the first frame that is wanted out of what has been heard, or will be; raw bytes as `raw`."""
        at = 0
        deadline = time.monotonic() + patience_s
        while True:
            for place in range(at, len(self.heard)):
                header, payload = self.heard[place]
                if wanted(header):
                    del self.heard[place]
                    return {**header, "raw": payload}
            at = len(self.heard)
            self._hear(deadline)

    def event(self, op: str, identifier: str) -> dict[str, Any]:
        return self.wait(
            lambda header: header.get("op") == op and header.get("id") == identifier and "re" not in header
        )

    def ended(self, identifier: str) -> dict[str, Any]:
        return self.event("ended", identifier)

    def outputs(self, identifier: str) -> dict[str, bytes]:
        """Files of a job, of the frames that have been heard."""
        files: dict[str, bytearray] = {}
        for header, payload in self.heard:
            if header.get("op") == "output" and header["id"] == identifier:
                file = files.setdefault(header["path"], bytearray())
                assert header["offset"] <= len(file)
                file[header["offset"] : header["offset"] + len(payload)] = payload
        return {name: bytes(data) for name, data in files.items()}

    def hear(self) -> None:
        """Take what comes next."""
        self._hear(time.monotonic() + PATIENCE_S)

    def _hear(self, deadline: float) -> None:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError(f"nothing of what was waited for; heard {[header for header, _ in self.heard][-20:]}")
        data = os.read(self.process.stdout.fileno(), 1 << 18)
        if not data:
            raise Gone(f"the channel ended with {self.process.wait(PATIENCE_S)}")
        if self._chatter is not None:
            self._chatter += data
            _, found, data = self._chatter.partition(MARKER)
            if not found:
                return
            self._chatter = None
        self.heard += self._decoder.feed(data)

    def submit(self, *specs: dict[str, Any]) -> dict[str, Any]:
        return self.ask("submit", jobs=list(specs))

    def until(self, said: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ping until what it answers of its load is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not said(load := self.ask("ping")["load"]):
            assert time.monotonic() < deadline, load
        return load

    def states(self) -> dict[str, str]:
        """States of all jobs there."""
        return {job["id"]: job["state"] for job in self.ask("status")["jobs"]}

    def parents(self) -> list[int]:
        """Processes of the warm parents."""
        pid = self.supervisor()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if b".forker" in Path(f"/proc/{child}/cmdline").read_bytes()]

    def supervisor(self) -> int:
        """Its process."""
        return int(json.loads((self.root / "supervisor.json").read_text())["pid"])

    def kill_supervisor(self) -> None:
        """Kill it, and wait until it is gone."""
        kill(self.supervisor())
        self.close()

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        self.process.wait(PATIENCE_S)


class FarSide:
    """A far side of a test's own, ended with all that it runs."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.folder = folder
        self.variables = dict(os.environ)
        self._open: list[Near | Fifo] = []

    def near(self, owner: str = "me", slots: int | None = None, patience_s: float | None = None) -> Near:
        """A connection that has said hello."""
        near = Near(self.root, owner, variables=self.variables, patience_s=patience_s)
        self._open.append(near)
        near.hello()
        if slots is not None:
            near.ask("slots", slots=slots, paused=None)
        return near

    def fifo(self) -> Fifo:
        fifo = Fifo(self.folder / f"fifo{len(self._open)}")
        self._open.append(fifo)
        return fifo

    def spec(self, do: str = "nothing", load: Any = None, **fields: Any) -> dict[str, Any]:
        """A job that does one of the things of far_entry; what is no field of a spec is an argument of it."""
        own = {key: fields.pop(key) for key in list(fields) if key in SPEC_FIELDS}
        fields = {key: str(value.path) if isinstance(value, Fifo) else value for key, value in fields.items()}
        return {
            "id": uuid.uuid4().hex,
            "owner": "me",
            "label": "",
            "environment": {
                "python": sys.executable,
                "path": [str(Path(__file__).parent)],
                "cwd": str(self.folder),
                "entry": "far_entry",
                "load": load,
                "variables": {},
            },
            "argument": {"do": do, "runs": str(self.folder / "runs"), **fields},
            **own,
        }

    def waiting(self, **fields: Any) -> "Waiting":
        """A job that waits to be told to end."""
        return Waiting(self, fields)

    def runs(self) -> list[str]:
        """What each execution of a job has appended, in a file that nobody else writes."""
        try:
            return (self.folder / "runs").read_text().split()
        except FileNotFoundError:
            return []

    def settled(self, near: Near, *identifiers: str) -> None:
        """Settle these, and see that nothing of any job is left."""
        near.ask("settle", ids=list(identifiers))
        assert near.ask("status")["jobs"] == []
        assert not list((self.root / "jobs").iterdir())
        near.until(lambda _: not list((self.root / "trash").iterdir()))

    def processes(self) -> list[int]:
        """All that runs for this far side: whatever names its root, and whatever its jobs have started."""
        found = []
        needle = os.fsencode(self.root)
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if needle in Path(entry.path, "cmdline").read_bytes() and start_time(int(entry.name)) is not None:
                        found.append(int(entry.name))
        return found

    def close(self) -> None:
        for near in self._open:
            near.close()
        # A job that is forked meanwhile shows up in the next look.
        while found := self.processes():
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def living(folder: Path) -> Iterator[FarSide]:
    """A far side for one test; its supervisor must not have raised anything."""
    side = FarSide(folder)
    yield side
    side.close()
    log = side.root / "supervisor.log"
    assert not log.exists() or "Traceback" not in log.read_text(), log.read_text()


class Waiting:
    """A job that waits to be told to end, and says when it runs."""

    def __init__(self, far: FarSide, fields: dict[str, Any]) -> None:
        self._tell, self._until = far.fifo(), far.fifo()
        self.spec = far.spec("wait", **{"tell": self._tell, "until": self._until, **fields})
        self.id: str = self.spec["id"]

    def runs(self) -> None:
        """Wait until it runs."""
        assert self._tell.line() == "running"

    def end(self, text: str = "") -> None:
        self._until.say(text)


def kill(pid: int) -> None:
    """Kill a process, and wait until it is gone."""
    descriptor = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([descriptor], [], [], PATIENCE_S)
    os.close(descriptor)


def wait_gone(pid: int) -> None:
    """Wait until a process has ended."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        ready, _, _ = select.select([descriptor], [], [], PATIENCE_S)
        os.close(descriptor)
        assert ready, f"process {pid} still runs"
