"""Tells processes apart for certain: a number is used again, a number with its start time is not."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
from pathlib import Path

# Where a job's processes carry its id, so that what left its process group is found.
JOB_VARIABLE = "SWEEPROUTE_FAR_JOB"


@functools.cache
def boot_id() -> str:
    """Identity of this boot of the machine."""
    return read("/proc/sys/kernel/random/boot_id").decode().strip()


def start_time(pid: int) -> int | None:
    """Clock ticks from the boot to a process's start; None where it has ended, also where nobody has reaped it yet."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in (b"Z", b"X") else int(fields[19])


def alive(pid: int, started: int, boot: str) -> bool:
    """Whether the process with this number is the one that is meant, and lives."""
    return boot == boot_id() and start_time(pid) == started


def groups() -> dict[int, list[int]]:
    """Process groups, by number, with their living processes."""
    found: dict[int, list[int]] = {}
    for pid in _pids():
        fields = _stat(pid)
        if fields is not None and fields[0] != b"Z":
            found.setdefault(int(fields[2]), []).append(pid)
    return found


def descendants(pid: int) -> list[tuple[int, int]]:
    """Processes below one, whatever their group or session, each with its start time."""
    children: dict[int, list[tuple[int, int]]] = {}
    for other in _pids():
        fields = _stat(other)
        if fields is not None:
            children.setdefault(int(fields[1]), []).append((other, int(fields[19])))
    found, ahead = [], [pid]
    while ahead:
        below = children.get(ahead.pop(), [])
        found += below
        ahead += [number for number, _ in below]
    return found


def marked(pids: list[int] | None = None) -> list[tuple[int, str]]:
    """Processes that a job has started by a program of its own, each with the job's id.

    Args:
        pids: Where to look; everywhere by default.
    """
    found = []
    mark = JOB_VARIABLE.encode() + b"="
    for pid in _pids() if pids is None else pids:
        for entry in read(f"/proc/{pid}/environ").split(b"\0"):
            if entry.startswith(mark):
                found.append((pid, entry[len(mark) :].decode(errors="replace")))
    return found


def open_files(pid: int) -> list[Path]:
    """Paths that a process has open; none where it is gone, or somebody else's."""
    found = []
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(entry.readlink())
    return found


def children() -> list[int]:
    """Children of this process, also those that were handed to it when their parent died."""
    pid = os.getpid()
    return [int(word) for word in read(f"/proc/{pid}/task/{pid}/children").split()]


def is_child(pid: int) -> bool:
    """Whether this process is its parent, and has not reaped it."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        return False
    return True


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group, or to the process that is about to lead it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(group, number)
    except PermissionError:
        pass  # all that is left of it belongs to somebody else


def kill(pids: list[tuple[int, int]]) -> None:
    """Kill processes, each named with its start time."""
    for pid, started in pids:
        if start_time(pid) == started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _pids() -> list[int]:
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]


def _stat(pid: int) -> list[bytes] | None:
    """Fields of /proc/PID/stat from the third on: state, parent, group, ..., start time as the twentieth."""
    text = read(f"/proc/{pid}/stat")
    return text.rpartition(b")")[2].split() or None


def read(path: str) -> bytes:
    """A small file, as a rule of /proc; empty where it is gone or somebody else's."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        data = b""
        while True:
            more = os.read(descriptor, 65536)
            if not more:
                return data
            data += more
    except OSError:
        return b""
    finally:
        os.close(descriptor)
