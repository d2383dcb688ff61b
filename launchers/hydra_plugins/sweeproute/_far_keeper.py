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
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ._far_coordinator import (
    CODE,
    LOG,
    MARK,
    NAME,
    OWN,
    RECORD,
    SWEEP,
    Asked,
    Frames,
    RefusedError,
    alive,
    below,
    boot_id,
    home_of,
    marked,
    read_json,
    root_of,
    start_time,
    write_json,
)
from ._far_files import files_of, pull, read

MARKER = b"sweeproute-far 1\n"
# Seconds between two looks; that a coordinator has to stop in order after each signal; that what it leaves has to end.
_LOOK_S = 0.1
_STOPS = ((signal.SIGINT, 15.0), (signal.SIGTERM, 45.0))
_LEAVES_S = 10.0
# Seconds that a Python may take to say what it has.
_ASK_S = 30
_TAIL = 4000
_OPEN = ("RUNNING", "QUEUED")
_VERSIONS = """
import json, sys
from importlib import metadata
found = {str(one.metadata["Name"]): one.version for one in metadata.distributions()}
print(json.dumps({"python": "%d.%d" % sys.version_info[:2], **found}))
"""


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


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_S)
    return True


def _look(asked: Asked, _: bytes) -> Frames:
    """Say where all is kept, and whether there is a Python that can run a coordinator."""
    root, home = root_of(asked), home_of(asked)
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
    places = {"root": str(root), "home": str(home), "python": python, "taken": bool(read_json(home / RECORD))}
    yield {"op": "look", "there": there, "versions": versions, "error": error, **places}, b""


def _start(asked: Asked, _: bytes) -> Frames:
    """Start the coordinator, in a session of its own, and wait until it has the sweep, or has ended."""
    home = home_of(asked)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / "start.lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = read_json(home / RECORD)
        if alive(record):
            raise RefusedError(f"runs this sweep already, as process {record['pid']}")
        if record and not asked["again"]:
            raise RefusedError(f"has a sweep of the name {asked['id']} already")
        if not asked["again"]:
            _lay_out(asked, home)
        process = _spawn(asked, home)

    def has() -> bool:
        return read_json(home / SWEEP / OWN / "sweep.json").get("pid") == process.pid

    _wait(lambda: process.poll() is not None or has(), asked["wait_s"])
    code = process.poll()
    tail = _tail(home / LOG) if code is not None else b""
    if code is not None and not has() and not asked["again"]:
        shutil.rmtree(home, ignore_errors=True)  # refused before it was a sweep: nothing of it is worth keeping
    yield {"op": "started", "pid": process.pid, "has": has(), "code": code}, tail


def _lay_out(asked: Asked, home: Path) -> None:
    """Put the code and the data where the coordinator finds them, for as long as the sweep is kept."""
    root, beside = root_of(asked), home / f"{CODE}~"
    if not (home / CODE).is_dir():
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(root / "trees" / asked["tree"], beside, symlinks=True)
        beside.rename(home / CODE)
    for sha, name in asked["files"]:
        source, target = root / "store" / sha, below(home, name)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.path.lexists(target):
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)


def _spawn(asked: Asked, home: Path) -> subprocess.Popen[bytes]:
    root, code, python = root_of(asked), home / CODE, Path(asked["python"])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTHON"))}
    ours = {
        "PATH": os.pathsep.join([str(python.parent), kept.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(str(code / name) for name in asked["path"]),
        "SWEEPROUTE_STATE": str(root / "state"),
        "SWEEPROUTE_CACHE": str(root / "cache"),
        MARK: asked["id"],
    }
    # One lock a slot, whoever takes it: this coordinator, or the supervisor for jobs that another machine sends.
    for place in (root / "slots", root / "state"):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (root / "state" / "slots").symlink_to("../slots")
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
    record = {"pid": process.pid, "started": start_time(process.pid), "boot": boot_id(), "at": time.time()}
    write_json(home / RECORD, record)
    return process


def _tail(path: Path) -> bytes:
    with contextlib.suppress(OSError), path.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL))
        return stream.read()
    return b""


def _stop(asked: Asked, _: bytes) -> Frames:
    """Have the coordinator stop in order, end what it leaves, and record that."""
    home, identifier = home_of(asked), str(asked["id"])
    record = read_json(home / RECORD)
    if not record:
        raise RefusedError(f"knows nothing of {identifier}")
    lived = alive(record)
    for number, seconds in _STOPS if lived else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(record["pid"], number)
        if _wait(lambda: not alive(record), seconds):
            # What writes the runs ends by itself once its coordinator has.
            _wait(lambda: not marked(identifier), _LEAVES_S)
            break
    left = marked(identifier)
    for pid in left:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    gone = _wait(lambda: not marked(identifier), _LEAVES_S)
    ended = _record_ends(home / SWEEP) if gone else 0
    yield {"op": "stopped", "lived": lived, "killed": len(left), "gone": gone, "ended": ended}, b""


def _record_ends(sweep: Path) -> int:
    """Record the end of what no coordinator is left to record; how many jobs."""
    ended, now = 0, time.time()
    error = {"class": "killed", "type": "", "message": "the sweep was cancelled", "traceback": ""}
    launches = [(path, read_json(path)) for path, name in files_of(sweep) if name.endswith("/launch.json")]
    done = {one["job"] for _, one in launches if one.get("state") in ("FINISHED", "PRUNED")}
    for path, one in launches:
        if one.get("state") in _OPEN:
            ran = now - one["started_at"] if one["state"] == "RUNNING" and one.get("started_at") else 0.0
            end = {"state": "KILLED", "current": one["job"] not in done, "ended_at": now, "error": error, "run_s": ran}
            write_json(path, {**one, **end})
            ended += 1
    record = read_json(sweep / OWN / "sweep.json")
    if record.get("state") == "RUNNING":
        write_json(sweep / OWN / "sweep.json", {**record, "state": "KILLED", "ended": now})
    return ended


def _pause(asked: Asked, _: bytes) -> Frames:
    """Let coordinators here start nothing more on the platform that this machine is, until that ends."""
    if not NAME.match(asked["platform"]):
        raise RefusedError(f"takes no platform of the name {asked['platform']!r}")
    path = root_of(asked) / "state" / "paused" / str(asked["platform"])
    if asked["end"]:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    else:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for_s = asked["for_s"]
        write_json(path, {"until": None if for_s is None else time.time() + for_s})
    yield {"op": "paused"}, b""


def _remove(asked: Asked, _: bytes) -> Frames:
    """Remove all that is kept here of a sweep."""
    home = home_of(asked)
    if alive(read_json(home / RECORD)):
        raise RefusedError(f"runs {asked['id']} now")
    shutil.rmtree(home, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        (root_of(asked) / "state" / "sweeps" / f"{asked['id']}.json").unlink()
    yield {"op": "removed"}, b""


_ANSWERS = {
    "look": _look,
    "start": _start,
    "stop": _stop,
    "pause": _pause,
    "remove": _remove,
    "read": read,
    "pull": pull,
}
