"""Starts a sweep's coordinator on a far machine, follows it, ends it: a program that is sent there.

It knows the standard library of Python 3.9 alone, and answers one channel until that is closed; the coordinator goes on
without it. Each frame is a line of JSON, with raw bytes behind it where it names some.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

MARKER = b"sweeproute-far 1\n"
# In the folder of a sweep: what it writes, the code that it runs, what its coordinator prints, who that is.
SWEEP, CODE, LOG, RECORD = "sweep", "code", "log", "coordinator.json"
# In the sweep's own folder, and under which name the log is brought home.
OWN, LOG_HOME = ".sweeproute", ".sweeproute/coordinator.log"
# What each side has for itself in our own folder of a sweep; and folders of jobs that only their next attempts need.
STAYS = ("lock", "home.lock", "tracking.lock", "tracking.json", "tracking.log", "payload.pkl")
_STAY_FOLDERS = ("checkpoint", "__pycache__")
# In the environment of the coordinator, and of whatever it starts: whose it is.
_MARK = "SWEEPROUTE_COORDINATED"
# Seconds between two looks; that a coordinator has to stop in order after each signal; that what it leaves has to end.
_LOOK_S = 0.1
_STOPS = ((signal.SIGINT, 15.0), (signal.SIGTERM, 45.0))
_LEAVES_S = 10.0
# Seconds that a Python may take to say what it has.
_ASK_S = 30
_CHUNK = 1 << 18
_TAIL = 4000
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z")
_OPEN = ("RUNNING", "QUEUED")
_VERSIONS = """
import json, sys
from importlib import metadata
found = {str(one.metadata["Name"]): one.version for one in metadata.distributions()}
print(json.dumps({"python": "%d.%d" % sys.version_info[:2], **found}))
"""

_Asked = dict[str, Any]
_Frames = Iterator[tuple[dict[str, Any], bytes]]


class RefusedError(Exception):
    """What was asked cannot be done; the message is a clause that follows the machine's name."""


def main(channel: io.RawIOBase) -> None:
    """Answer what is asked over this process's standard streams.

    Args:
        channel: Standard input, unbuffered.
    """
    heard = io.BufferedReader(channel)
    sys.stdout.buffer.write(MARKER)
    sys.stdout.buffer.flush()
    while (line := heard.readline()).endswith(b"\n"):
        asked = json.loads(line)
        payload = heard.read(asked.get("bytes", 0))
        try:
            for header, data in _ANSWERS[asked["op"]](asked, payload):
                _say(header, data)
        except RefusedError as error:
            _say({"op": "refused", "message": str(error)})
        except OSError as error:
            _say({"op": "refused", "message": f"cannot do it: {error}"})


def _say(header: dict[str, Any], data: bytes = b"") -> None:
    if data:
        header = {**header, "bytes": len(data)}
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + data)
    sys.stdout.buffer.flush()


# ---- where things are


def _root(asked: _Asked) -> Path:
    return Path(os.path.abspath(Path(asked.get("root") or "~/.sweeproute").expanduser()))  # noqa: PTH100  (as named)


def _home(asked: _Asked) -> Path:
    if not _NAME.match(asked["id"]):
        raise RefusedError(f"takes no sweep of the name {asked['id']!r}")
    return _root(asked) / "sweeps" / str(asked["id"])


def _below(folder: Path, name: str) -> Path:
    """A path in a folder, whatever the name says."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise RefusedError(f"takes no path like {name!r}")
    return folder.joinpath(*parts)


def _read_json(path: Path) -> dict[str, Any]:
    """A record; empty where there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}~")
    with beside.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(content) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)


# ---- processes


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _start_time(pid: int) -> int | None:
    """Clock ticks from the boot to a process's start; None where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _alive(record: dict[str, Any]) -> bool:
    """Whether the coordinator of a record lives: a number is used again, a number with its start time is not."""
    return bool(record) and record["boot"] == _boot() and _start_time(record["pid"]) == record["started"]


def _marked(identifier: str) -> list[int]:
    """Processes that a sweep's coordinator has started, whatever their session, itself included."""
    mark, found = f"{_MARK}={identifier}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0") and _start_time(int(entry.name)) is not None:
                    found.append(int(entry.name))
    return found


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_S)
    return True


# ---- what can be asked


def _look(asked: _Asked, _: bytes) -> _Frames:
    """Say where all is kept, and whether there is a Python that can run a coordinator."""
    root, home = _root(asked), _home(asked)
    python = str(Path(asked["python"] or root / "env" / "bin" / "python").expanduser())
    versions, error = {}, ""
    there = shutil.which(python) is not None
    if there:
        command = [python, "-E", "-c", _VERSIONS]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=False)
        try:
            versions = {re.sub("[-_.]+", "-", name).lower(): one for name, one in json.loads(done.stdout).items()}
        except ValueError:
            error = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    places = {"root": str(root), "home": str(home), "python": python, "taken": bool(_read_json(home / RECORD))}
    yield {"op": "look", "there": there, "versions": versions, "error": error, **places}, b""


def _start(asked: _Asked, _: bytes) -> _Frames:
    """Start the coordinator, in a session of its own, and wait until it has the sweep, or has ended."""
    home = _home(asked)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / "start.lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = _read_json(home / RECORD)
        if _alive(record):
            raise RefusedError(f"runs this sweep already, as process {record['pid']}")
        if record and not asked["again"]:
            raise RefusedError(f"has a sweep of the name {asked['id']} already")
        if not asked["again"]:
            _lay_out(asked, home)
        process = _spawn(asked, home)

    def has() -> bool:
        return _read_json(home / SWEEP / OWN / "sweep.json").get("pid") == process.pid

    _wait(lambda: process.poll() is not None or has(), asked["wait_s"])
    code = process.poll()
    tail = _tail(home / LOG) if code is not None else b""
    if code is not None and not has() and not asked["again"]:
        shutil.rmtree(home, ignore_errors=True)  # refused before it was a sweep: nothing of it is worth keeping
    yield {"op": "started", "pid": process.pid, "has": has(), "code": code}, tail


def _lay_out(asked: _Asked, home: Path) -> None:
    """Put the code and the data where the coordinator finds them, for as long as the sweep is kept."""
    root, beside = _root(asked), home / f"{CODE}~"
    if not (home / CODE).is_dir():
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(root / "trees" / asked["tree"], beside, symlinks=True)
        beside.rename(home / CODE)
    for sha, name in asked["files"]:
        source, target = root / "store" / sha, _below(home, name)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.path.lexists(target):
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)


def _spawn(asked: _Asked, home: Path) -> subprocess.Popen[bytes]:
    root, code, python = _root(asked), home / CODE, Path(asked["python"])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTHON"))}
    ours = {
        "PATH": os.pathsep.join([str(python.parent), kept.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(str(code / name) for name in asked["path"]),
        "SWEEPROUTE_STATE": str(root / "state"),
        "SWEEPROUTE_CACHE": str(root / "cache"),
        _MARK: asked["id"],
    }
    with (home / LOG).open("ab") as log:
        process = subprocess.Popen(
            [str(python), "-u", *asked["words"]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=code / asked["cwd"],
            env={**kept, **ours, **asked["variables"]},
            start_new_session=True,
        )
    record = {"pid": process.pid, "started": _start_time(process.pid), "boot": _boot(), "at": time.time()}
    _write_json(home / RECORD, record)
    return process


def _tail(path: Path) -> bytes:
    with contextlib.suppress(OSError), path.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL))
        return stream.read()
    return b""


def _stop(asked: _Asked, _: bytes) -> _Frames:
    """Have the coordinator stop in order, end what it leaves, and record that."""
    home, identifier = _home(asked), str(asked["id"])
    record = _read_json(home / RECORD)
    if not record:
        raise RefusedError(f"knows nothing of {identifier}")
    lived = _alive(record)
    for number, seconds in _STOPS if lived else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(record["pid"], number)
        if _wait(lambda: not _alive(record), seconds):
            # What writes the runs ends by itself once its coordinator has.
            _wait(lambda: not _marked(identifier), _LEAVES_S)
            break
    left = _marked(identifier)
    for pid in left:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    gone = _wait(lambda: not _marked(identifier), _LEAVES_S)
    ended = _record_ends(home / SWEEP) if gone else 0
    yield {"op": "stopped", "lived": lived, "killed": len(left), "gone": gone, "ended": ended}, b""


def _record_ends(sweep: Path) -> int:
    """Record the end of what no coordinator is left to record; how many jobs."""
    ended, now = 0, time.time()
    error = {"class": "killed", "type": "", "message": "the sweep was cancelled", "traceback": ""}
    launches = [(path, _read_json(path)) for path, name in _files(sweep) if name.endswith("/launch.json")]
    done = {one["job"] for _, one in launches if one.get("state") in ("FINISHED", "PRUNED")}
    for path, one in launches:
        if one.get("state") in _OPEN:
            ran = now - one["started_at"] if one["state"] == "RUNNING" and one.get("started_at") else 0.0
            end = {"state": "KILLED", "current": one["job"] not in done, "ended_at": now, "error": error, "run_s": ran}
            _write_json(path, {**one, **end})
            ended += 1
    record = _read_json(sweep / OWN / "sweep.json")
    if record.get("state") == "RUNNING":
        _write_json(sweep / OWN / "sweep.json", {**record, "state": "KILLED", "ended": now})
    return ended


def _read(asked: _Asked, _: bytes) -> _Frames:
    """Read a piece of a file of the sweep; say what is recorded of the job in whose folder it lies."""
    home = _home(asked)
    path = _below(home / SWEEP, asked["path"])
    alive, state = _alive(_read_json(home / RECORD)), _read_json(path.with_name("launch.json")).get("state")
    data, size = b"", 0
    with contextlib.suppress(OSError), _opened(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        stream.seek(asked["offset"])
        data = stream.read(_CHUNK)
    yield {"op": "read", "size": size, "state": state, "alive": alive}, data


# ---- the way home


def _opened(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def _files(sweep: Path) -> Iterator[tuple[Path, str]]:
    """Files of a sweep, by path and by their name in it; no link to a folder is followed."""
    for place, folders, names in os.walk(sweep):
        folders[:] = [name for name in folders if name not in _STAY_FOLDERS]
        for name in names:
            path = Path(place, name)
            ours = path.parent == sweep / OWN
            if not name.endswith("~") and not (ours and name in STAYS):
                yield path, path.relative_to(sweep).as_posix()


def _pull(asked: _Asked, payload: bytes) -> _Frames:
    """Send what has changed: all that records and journals speak of, then journals as long as they were, then records.

    Each record and each journal is thus of a moment before the files that it speaks of were read.
    """
    home = _home(asked)
    sweep, have = home / SWEEP, json.loads(payload or b"{}")
    named = {f"{OWN}/sweep.json", f"{OWN}/jobs.jsonl"}
    files = list(_files(sweep))
    named |= {name for _, name in files if name.rpartition("/")[2] == "launch.json"}
    records = []
    for name in sorted(named):
        with contextlib.suppress(OSError), _opened(sweep / name) as stream:
            stamp = os.fstat(stream.fileno()).st_mtime_ns
            if name not in have or have[name][1] != stamp:
                records.append((name, stamp, stream.read()))
    count = len(records)
    if asked["all"]:
        journals = [(path, name, path.lstat()) for path, name in files if _grows(name) and name not in named]
        others = [(path, name) for path, name in _files(sweep) if not _grows(name) and name not in named]
        for path, name, found in (*_looked([*others, (home / LOG, LOG_HOME)]), *journals):
            if stat.S_ISREG(found.st_mode) and have.get(name) != [found.st_size, found.st_mtime_ns]:
                count += 1
                with contextlib.suppress(OSError), _opened(path) as stream:
                    yield from _pieces(name, found.st_mtime_ns, stream, found.st_size)
    # What leads to the attempts comes last.
    for name, stamp, data in sorted(records, key=lambda one: one[0].startswith(OWN)):
        yield from _pieces(name, stamp, io.BytesIO(data), len(data))
    yield {"op": "pulled", "files": count, "alive": _alive(_read_json(home / RECORD))}, b""


def _grows(name: str) -> bool:
    return name.endswith(".jsonl")


def _looked(files: list[tuple[Path, str]]) -> Iterator[tuple[Path, str, os.stat_result]]:
    for path, name in files:
        with contextlib.suppress(OSError):
            yield path, name, path.lstat()


def _pieces(name: str, stamp: int, stream: BinaryIO, size: int) -> _Frames:
    offset, last = 0, False
    while not last:
        data = stream.read(min(_CHUNK, size - offset))
        last = offset + len(data) >= size or not data
        yield {"op": "file", "path": name, "offset": offset, "last": last, "mtime_ns": stamp}, data
        offset += len(data)


_ANSWERS = {"look": _look, "start": _start, "stop": _stop, "read": _read, "pull": _pull}
