"""The supervisor's side of the warm parents: starts one for each environment, and retires those that nobody needs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .frames import Decoder, encode
from .loop import Loop
from .records import Job, Records

# Seconds without a job until a parent is retired, and parents that may be idle at once.
_IDLE_S = 600.0
_IDLE = 4
_PROGRAM = (
    "import sys; sys.path[:] = [sys.argv[1], *filter(None, sys.path)]; from {}.forker import main; "
    "sys.path.remove(sys.argv[1]); main(int(sys.argv[2]), sys.argv[3])"
)


class Parent:
    """One warm parent.

    Attributes:
        key: The environment's.
        pid: Its process.
        state: loading, ready, or used: it has become the process of a job.
        touched: What shows that it has used CUDA, so that it cannot fork.
        jobs: Ids of what it has been given and has not said to have ended.
        idle_since: When it had its last job, on the monotonic clock.
    """

    def __init__(self, key: str, pid: int, channel: socket.socket) -> None:
        self.key = key
        self.pid = pid
        self.channel = channel
        self.state = "loading"
        self.touched = ""
        self.jobs: set[str] = set()
        self.idle_since = time.monotonic()
        self.decoder = Decoder()

    def start(self, job: Job, lock: int, records: Records) -> None:
        """Have it start a job.

        Args:
            job: With its slot and its GPUs.
            lock: Descriptor of the slot's lock, which the job's process keeps.
            records: Where the job's files are.

        Raises:
            OSError: It does not take the message.
        """
        header = {
            "id": job.id,
            "folder": str(records.folder(job.id)),
            "store": str(records.root / "store"),
            "slot": job.slot,
            "gpus": job.gpu,
            "here": bool(self.touched),
        }
        socket.send_fds(self.channel, [encode(header)], [lock])
        self.jobs.add(job.id)
        if self.touched:
            self.state = "used"


class Parents:
    """All warm parents.

    Args:
        loop: Where their messages are heard.
        records: Where their environments are described.
        code: The folder that this package lies in.
        heard: Called with a parent and what it says.
        say: Writes a line to the log.
    """

    def __init__(
        self,
        loop: Loop,
        records: Records,
        code: str,
        heard: Callable[[Parent, dict[str, Any]], None],
        say: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._records = records
        self._code = code
        self._heard = heard
        self._say = say
        self._said_touched: set[str] = set()
        self.by_pid: dict[int, Parent] = {}

    def ready(self, key: str) -> Parent | None:
        """A parent that can start a job in an environment; where there is none, one is started, and is ready later.

        Raises:
            OSError, ValueError: None can be started.
        """
        mine = [parent for parent in self.by_pid.values() if parent.key == key and parent.state != "used"]
        if not mine:
            self._spawn(key)
        return next((parent for parent in mine if parent.state == "ready"), None)

    def gone(self, pid: int) -> Parent:
        """Let go of a parent that has ended, once what it had still to say is heard."""
        parent = self.by_pid[pid]
        while self._receive(parent):
            pass
        self._loop.forget(parent.channel.fileno())
        parent.channel.close()
        return self.by_pid.pop(pid)

    def printed(self, key: str) -> str:
        """The last of what a parent printed while it loaded an environment."""
        try:
            return self._log(key).read_text(encoding="utf-8", errors="replace")[-4000:]
        except OSError:
            return ""

    def retire(self) -> None:
        """End parents that have had nothing to do for long, and the longest idle of too many."""
        idle = [parent for parent in self.by_pid.values() if parent.state == "ready" and not parent.jobs]
        idle.sort(key=lambda parent: parent.idle_since, reverse=True)
        now = time.monotonic()
        for place, parent in enumerate(idle):
            if place >= _IDLE or now - parent.idle_since > _IDLE_S:
                self.end(parent)

    def end(self, parent: Parent) -> None:
        """End a parent; its jobs, if any, go on."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(parent.pid, signal.SIGKILL)

    def _log(self, key: str) -> Path:
        return self._records.environments / f"{key}.log"

    def _spawn(self, key: str) -> None:
        described = self._records.environments / f"{key}.json"
        environment = json.loads(described.read_text(encoding="utf-8"))
        python = Path(environment["python"]).expanduser()
        variables = {**os.environ, **environment["variables"]}
        if python.is_absolute() and "PATH" not in environment["variables"]:
            # As if that environment were activated: Rscript and the like are found in it.
            variables["PATH"] = os.pathsep.join([str(python.parent), variables.get("PATH", os.defpath)])
        ours, theirs = socket.socketpair()
        descriptor = theirs.fileno()
        arguments = [self._code, str(descriptor), str(described)]
        try:
            with theirs, self._log(key).open("wb") as log:
                process = subprocess.Popen(
                    [str(python), "-u", "-c", _PROGRAM.format(__package__), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=variables,
                    pass_fds=(descriptor,),
                    start_new_session=True,
                )
        except OSError:
            ours.close()
            raise
        process.returncode = 0  # the supervisor reaps all of its children itself
        ours.setblocking(False)
        parent = Parent(key, process.pid, ours)
        self.by_pid[parent.pid] = parent
        self._loop.watch(ours.fileno(), lambda _: self._read(parent))

    def _read(self, parent: Parent) -> None:
        if self._receive(parent) == b"":
            self._loop.forget(parent.channel.fileno())  # its end is told by SIGCHLD

    def _receive(self, parent: Parent) -> bytes | None:
        """Hear what a parent says; None where it says nothing now, and empty where it never will again."""
        try:
            data = parent.channel.recv(65536)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        for header, _ in parent.decoder.feed(data):
            if header["op"] == "ready":
                parent.state, parent.touched = "ready", header["touched"]
                self._note(parent)
            elif header["op"] == "ended":
                parent.jobs.discard(header["id"])
            parent.idle_since = time.monotonic()
            self._heard(parent, header)
        return data

    def _note(self, parent: Parent) -> None:
        if parent.touched and parent.key not in self._said_touched:
            self._said_touched.add(parent.key)
            self._say(f"environment {parent.key} has used CUDA ({parent.touched}): its jobs are fresh processes")
