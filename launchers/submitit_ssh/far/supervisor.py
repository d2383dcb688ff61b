"""The one process of a user that owns the jobs of a far machine, and talks to all who have some."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import processes
from .cleaning import Cleaning
from .connection import Connection
from .forker import exit_of
from .frames import PROTOCOL, FrameError, encode
from .job_folder import has_result, read_result, write
from .jobs import Jobs
from .loop import READ, WRITE, Loop, Timer
from .out_files import changed, growth, kept, whole
from .records import Job, Records
from .relay import find
from .requests import Requests
from .store import Store

# Seconds: to wait for an earlier supervisor's end, and between looks whether it has.
_LOCK_S = 15.0
_LOCK_EVERY_S = 0.02
# Seconds: between looks at what runs, and whether the socket is there; until one that nobody needs ends itself.
_LOOK_S = 0.5
_DOOR_S = 2.0
_IDLE_S = 900.0
# Bytes that a path of a socket may take.
_SOCKET_PATH = 100
_PR_SET_CHILD_SUBREAPER = 36


def main(root: str, code: str, tell: str) -> None:
    """Be the supervisor, if there is no other.

    Args:
        root: The folder in which everything is kept.
        code: The folder that this package lies in.
        tell: Descriptor on which to say `ready`, or what went wrong.
    """
    descriptor = int(tell)
    os.set_inheritable(descriptor, False)
    try:
        lock = _lock(Path(root))
        supervisor = Supervisor(Path(root), code)
        if lock is not None:
            supervisor.open()
    except Exception as error:
        os.write(descriptor, f"{type(error).__name__}: {error}".encode())
        raise
    os.write(descriptor, b"ready")
    os.close(descriptor)
    if lock is not None:
        supervisor.run()
        os.close(lock)


def _lock(root: Path) -> int | None:
    """The lock of the only supervisor, once an earlier one has ended; None where that one can be reached again."""
    lock = os.open(root / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if find(str(root)) is not None:
                return None
            if time.monotonic() > until:
                raise TimeoutError(f"another process holds {root / 'supervisor.lock'}, and does not listen") from None
            time.sleep(_LOCK_EVERY_S)
        else:
            return lock


def say(text: str) -> None:
    """Write a line to the log."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} [{os.getpid()}] {text}\n")


def _socket_path(root: Path) -> Path:
    """Where the socket lies: in the root, or where a path may be no longer in a folder that nobody else enters."""
    path = root / "supervisor.sock"
    if len(os.fsencode(path)) < _SOCKET_PATH:
        return path
    folder = Path(f"/tmp/sweeproute-{os.getuid()}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise PermissionError(f"{folder} is somebody else's")
    return folder / "socket"


class Supervisor:
    """Connections on one side, jobs on the other.

    Args:
        root: The folder in which everything is kept.
        code: The folder that this package lies in.
    """

    def __init__(self, root: Path, code: str) -> None:
        self._root = root
        self._code = code
        self._loop = Loop(self._turned)
        self._records = Records(root)
        self._jobs = Jobs(self._records, code, self._loop, self._told, say)
        self._store = Store(root, code, self._loop)
        self._connections: set[Connection] = set()
        cleaning = Cleaning(self._jobs, self._store, code, self._loop, lambda: self._connections)
        self._requests = Requests(self._jobs, self._store, cleaning, code, self._follow)
        self._listener: socket.socket | None = None
        self._socket = root
        self._looking = False
        self._idle: Timer | None = None

    def open(self) -> None:
        """Take up what an earlier one has left, then listen."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        woken, waker = os.pipe()
        for end in (woken, waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self._loop.watch(woken, lambda _: self._reap(woken))
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes  # not every Python has it

            # What a dead parent leaves comes to this process, which then hears of its end at once.
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._root.chmod(0o700)
        self._jobs.open()
        self._store.open()
        self._keep_door()
        say(f"started, with {len(self._jobs.queue)} jobs queued and {len(self._jobs.active)} running")

    def run(self) -> None:
        """Serve until nobody needs it."""
        self._loop.run()
        for connection in list(self._connections):
            self._close(connection)
        say("ended: nobody needs it")

    def _keep_door(self) -> None:
        """Be found, also after somebody has cleaned up where the socket lies."""
        self._loop.after(_DOOR_S, self._keep_door)
        record = self._root / "supervisor.json"
        if self._listener is not None and self._socket.exists() and record.exists():
            return
        if self._listener is not None:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket = _socket_path(self._root)
        self._socket.unlink(missing_ok=True)
        self._listener.bind(str(self._socket))
        self._listener.listen(64)
        self._listener.setblocking(False)
        self._loop.watch(self._listener.fileno(), lambda _: self._accept())
        itself = {
            "pid": os.getpid(),
            "start_time": processes.start_time(os.getpid()),
            "boot_id": processes.boot_id(),
            "protocol": PROTOCOL,
            "socket": str(self._socket),
            "bin": self._code,
        }
        write(record, json.dumps(itself) + "\n")

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            channel, _ = self._listener.accept()
        except OSError:
            return
        credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] not in (os.getuid(), 0):
            channel.close()
            return
        connection = Connection(channel, self._ready)
        self._connections.add(connection)
        self._loop.watch(channel.fileno(), connection.ready)

    def _ready(self, connection: Connection, events: int) -> None:
        if not events & READ:
            return  # what it takes is written at the end of the turn
        try:
            frames = connection.read()
        except FrameError as error:
            say(f"{connection.owner or 'a connection'} talks nonsense: {error}")
            frames = None
        if frames is None:
            self._close(connection)
            return
        for header, payload in frames:
            if connection.closed:
                return
            op = header.get("op")
            if op == "retire" and not connection.owner:
                self._retire(connection, header)
            elif op == "hello":
                self._greet(connection, str(header.get("owner") or ""), header.get("patience_s"))
                self._requests.answer(connection, header, payload)
            elif not connection.owner:
                connection.send({"op": "error", "re": header.get("n"), "message": "hello comes first"})
            else:
                self._requests.answer(connection, header, payload)

    def _greet(self, connection: Connection, owner: str, patience_s: Any) -> None:
        """Give a connection its owner; an older one of the same owner is closed, and what it still says is not read."""
        connection.patience_s = float(patience_s) if isinstance(patience_s, (int, float)) else None
        for other in list(self._connections):
            if other is not connection and other.owner == owner:
                self._close(other)
        connection.owner = owner or f"nobody-{connection.channel.fileno()}"

    def _retire(self, connection: Connection, header: dict[str, Any]) -> None:
        """Make room for a supervisor of another version, where that disturbs nobody."""
        retired = not (self._jobs.active or self._jobs.queue or any(other.owner for other in self._connections))
        connection.send({"op": "retired", "re": header.get("n"), "retired": retired})
        if retired:
            self._loop.stop()
            connection.write()

    def _close(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._loop.forget(connection.channel.fileno())
        connection.close()

    def _reap(self, woken: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 4096)
        while True:
            try:
                # Only seen, not yet reaped: its number cannot be another's, so its group is its own.
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            if self._jobs.is_job(found.si_pid):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(found.si_pid, signal.SIGKILL)
            _, status = os.waitpid(found.si_pid, 0)
            self._jobs.reaped(found.si_pid, *exit_of(status))

    def _turned(self) -> None:
        """What a turn of the loop has made possible is done at its end, and what it has to say is said at once."""
        self._jobs.schedule()
        if self._records.tidy():
            self._loop.after(0.0, lambda: None)
        for connection in list(self._connections):
            more = connection.write()
            events = (READ if connection.takes else 0) | (WRITE if more else 0)
            self._loop.watch(connection.channel.fileno(), connection.ready, events)
        busy = bool(self._connections or self._jobs.active or self._jobs.queue)
        if busy and not self._looking:
            self._looking = True
            self._loop.after(_LOOK_S, self._look)
        if busy and self._idle is not None:
            self._idle.cancel()
            self._idle = None
        elif not busy and self._idle is None:
            self._idle = self._loop.after(_IDLE_S, self._loop.stop)

    def _look(self) -> None:
        self._looking = False
        for connection in list(self._connections):
            if connection.waited(_LOOK_S):  # cut off, and nobody will ever say so
                self._close(connection)
        if self._connections:
            self._jobs.gpus.look()
        self._jobs.look()
        self._jobs.sweep()
        for connection in self._connections:
            for job in self._jobs.active.values():
                if job.live and job.id in connection.offsets and connection.room:
                    self._send_growth(connection, job)
                if job.kept and job.id in connection.offsets:
                    self._send_kept(connection, job)

    def _send_growth(self, connection: Connection, job: Job) -> None:
        for frame in growth(job.id, self._out(job), job.live, connection.offsets[job.id]):
            connection.push(frame)
            if not connection.room:
                return

    def _send_kept(self, connection: Connection, job: Job) -> None:
        out, has = self._out(job), connection.kept[job.id]
        if not connection.sends_behind(job.id) and changed(out, job.kept, has):
            connection.send_behind(job.id, kept(job.id, out, job.kept, has))

    def _out(self, job: Job) -> Path:
        return self._records.folder(job.id) / "out"

    def _told(self, job: Job) -> None:
        """Tell what a job has just become."""
        if not job.unwanted:
            for connection in self._connections:
                if job.id in connection.offsets:
                    self._tell(connection, job)

    def _follow(self, connection: Connection, job: Job) -> None:
        """Tell a connection what has become of a job that it has named."""
        if job.state == "ended" and job.run is not None:
            self._tell_start(connection, job)
        self._tell(connection, job)

    def _tell(self, connection: Connection, job: Job) -> None:
        if job.state == "running":
            self._tell_start(connection, job)
        elif job.state == "ended":
            connection.send_end(job.id, self._end_frames(job, connection))

    def _tell_start(self, connection: Connection, job: Job) -> None:
        run = job.run
        assert run is not None
        connection.send(
            {"op": "started", "id": job.id, "slot": run.slot, "gpu": run.gpus, "pid": run.pid, "time": run.started}
        )

    def _end_frames(self, job: Job, connection: Connection) -> Iterator[bytes]:
        yield from growth(job.id, self._out(job), job.live, connection.offsets[job.id])
        yield from whole(job.id, self._out(job), job.live, job.kept)
        yield from kept(job.id, self._out(job), job.kept, connection.kept[job.id])
        end, folder = job.end, self._records.folder(job.id)
        assert end is not None
        said = {
            "op": "ended",
            "id": job.id,
            "class": end.error_class,
            "message": end.message,
            "result": None,
            "run_s": end.run_s,
            "started": job.run.started if job.run else None,
            "ended": end.ended,
            "exit": {"code": end.code, "signal": end.signal},
        }
        try:
            frame = encode({**said, "result": read_result(folder)[1] if has_result(folder) else None})
        except (OSError, ValueError) as error:
            frame = encode({**said, "class": end.error_class or "outputs", "message": end.message or str(error)})
        yield frame
