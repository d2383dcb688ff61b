"""The far end of a channel: finds the supervisor or starts it, then passes bytes both ways until either end closes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import signal
import socket
import sys
from typing import Any

from .frames import MARKER, PROTOCOL, Decoder, encode
from .processes import alive, read

# Seconds that a supervisor may take to listen, and a living one to take a connection or to answer.
_START_S = 20.0
_ANSWER_S = 5.0
# Seconds for which a near side may take nothing of what there is for it.
_PATIENCE_S = 30.0
# Bytes that are read ahead of a side which does not take them.
_AHEAD = 1 << 18
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[2]); from {}.supervisor import main; main(*sys.argv[1:])"


def main(root: str, code: str) -> None:
    """Serve one channel on standard input and output.

    Args:
        root: The folder in which all is kept.
        code: The folder that this package lies in.
    """
    _write_all(MARKER)
    try:
        connection = _connect(root, code)
    except OSError as error:
        message = f"has no supervisor, and none starts in {root} ({error}); {root}/supervisor.log may say more"
        _write_all(encode({"op": "refused", "class": "precheck", "message": message}))
        return
    with contextlib.suppress(OSError):  # the supervisor is gone
        _pump(connection)


def _connect(root: str, code: str) -> socket.socket:
    connection = _greet(root, code)
    if connection is not None:
        return connection
    lock = os.open(f"{root}/start.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # its holder is bound by _START_S
        connection = _greet(root, code)
        if connection is None:
            _start(root, code)
            connection = _greet(root, code)
    finally:
        os.close(lock)
    if connection is None:
        raise OSError("it started, and does not answer")
    return connection


def find(root: str) -> tuple[socket.socket, dict[str, Any]] | None:
    """A connection to the living supervisor, with what it has written of itself; None where there is none."""
    try:
        found: dict[str, Any] = json.loads(read(f"{root}/supervisor.json"))
        if not alive(found["pid"], found["start_time"], found["boot_id"]):
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_ANSWER_S)
        connection.connect(found["socket"])
    except (OSError, ValueError, KeyError):
        return None
    return connection, found


def _greet(root: str, code: str) -> socket.socket | None:
    """A connection to the living supervisor; None where there is none, or where one of another version makes room."""
    found = find(root)
    if found is None:
        return None
    connection, itself = found
    if itself.get("bin") == code and itself.get("protocol") == PROTOCOL:
        return connection
    # One of another version goes on where it has jobs or someone to talk to, and makes room where it has neither.
    answer = _ask(connection, {"op": "retire", "n": 0})
    return None if answer is None or answer.get("retired") else connection


def _ask(connection: socket.socket, header: dict[str, Any]) -> dict[str, Any] | None:
    try:
        connection.sendall(encode(header))
        decoder = Decoder()
        while True:
            data = connection.recv(65536)
            frames = decoder.feed(data)
            if frames:
                answer = frames[0][0]
                if answer.get("retired"):
                    connection.recv(1)  # it closes when it has ended
                return answer
            if not data:
                return None
    except (OSError, ValueError):
        return None


def _start(root: str, code: str) -> None:
    """Start a supervisor that outlives this process, and wait until it listens."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if os.fork() == 0:  # with another parent, a dead one leaves no zombie that would pass for alive
                _become_supervisor(root, code, tell)
        finally:
            os._exit(1)
    os.close(tell)
    os.waitpid(child, 0)
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(ready, selectors.EVENT_READ)
        while selector.select(_START_S):
            data = os.read(ready, 4096)
            said += data
            if not data:
                break
        else:
            said = b"it does not listen in time"
    os.close(ready)
    if said != b"ready":
        raise OSError(said.decode(errors="replace") or "it ended at once")


def _become_supervisor(root: str, code: str, tell: int) -> None:
    # A channel that was opened in the background ignores these; jobs would inherit that.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.chdir("/")
    log = os.open(f"{root}/supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    keep = os.dup2(tell, 3, inheritable=True)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 1 << 16 else 1 << 16)
    program = _PROGRAM.format(__package__)
    os.execv(sys.executable, [sys.executable, "-E", "-s", "-S", "-u", "-c", program, root, code, str(keep)])


def _pump(connection: socket.socket) -> None:
    """Pass bytes both ways until one side has closed and what it said last is passed on."""
    connection.setblocking(False)
    os.set_blocking(0, False)
    os.set_blocking(1, False)
    up, down = bytearray(), bytearray()  # to the supervisor, to the near side
    selector = selectors.PollSelector()
    near_open = hears = far_open = True
    while (near_open or up) and (far_open or down):
        _watch(selector, 0, near_open and len(up) < _AHEAD, False)
        _watch(selector, 1, False, bool(down))
        _watch(selector, connection.fileno(), far_open and len(down) < _AHEAD, bool(up))
        stuck_s = _PATIENCE_S if down else None  # the line may be cut, and nobody ever say so
        ready = selector.select(stuck_s if near_open and far_open else _ANSWER_S)
        if not ready:
            return  # nobody takes the last words
        for key, events in ready:
            with contextlib.suppress(BlockingIOError):
                if key.fd == 0:
                    data = os.read(0, _AHEAD)
                    up += data
                    near_open = bool(data)
                elif key.fd == 1:
                    hears = _say(down)
                else:
                    if events & selectors.EVENT_WRITE:
                        del up[: connection.send(up)]
                    if events & selectors.EVENT_READ:
                        data = connection.recv(_AHEAD)
                        far_open = bool(data)
                        down += data if hears else b""


def _say(down: bytearray) -> bool:
    """Write to the near side; False where it hears nothing any more, though it may still have said something."""
    try:
        del down[: os.write(1, down)]
    except BlockingIOError:
        return True
    except OSError:
        down.clear()
        return False
    return True


def _watch(selector: selectors.PollSelector, descriptor: int, read: bool, write: bool) -> None:
    events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
    known = selector.get_map().get(descriptor)
    if known is None and events:
        selector.register(descriptor, events)
    elif known is not None and not events:
        selector.unregister(descriptor)
    elif known is not None and known.events != events:
        selector.modify(descriptor, events)


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]
