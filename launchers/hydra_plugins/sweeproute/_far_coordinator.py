"""Says of a sweep's coordinator on a far machine where it is and whether it lives: a part of what is sent there."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# In the folder of a sweep: what it writes, the code that it runs, what its coordinator prints, who that is.
SWEEP, CODE, LOG, RECORD = "sweep", "code", "log", "coordinator.json"
# Our own folder in the sweep's.
OWN = ".sweeproute"
# In the environment of the coordinator, and of whatever it starts: whose it is.
MARK = "SWEEPROUTE_COORDINATED"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z")

Asked = dict[str, Any]
Frames = Iterator[tuple[dict[str, Any], bytes]]


class RefusedError(Exception):
    """What was asked cannot be done; the message is a clause that follows the machine's name."""


def root_of(asked: Asked) -> Path:
    """The folder in which everything of ours is kept here."""
    return Path(os.path.abspath(Path(asked.get("root") or "~/.sweeproute").expanduser()))  # noqa: PTH100  (as named)


def home_of(asked: Asked) -> Path:
    """The folder of the sweep that is asked about.

    Raises:
        RefusedError: Its id could lead elsewhere.
    """
    if not NAME.match(asked["id"]):
        raise RefusedError(f"takes no sweep of the name {asked['id']!r}")
    return root_of(asked) / "sweeps" / str(asked["id"])


def below(folder: Path, name: str) -> Path:
    """A path in a folder.

    Raises:
        RefusedError: The name leads elsewhere.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise RefusedError(f"takes no path like {name!r}")
    return folder.joinpath(*parts)


def read_json(path: Path) -> dict[str, Any]:
    """A record; empty where there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write beside, then rename: a power cut leaves the old record or the new one."""
    beside = path.with_name(f"{path.name}.{os.getpid()}~")
    with beside.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(content) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)


def boot_id() -> str:
    """Identity of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start_time(pid: int) -> int | None:
    """Clock ticks from the boot to a process's start; None where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def alive(record: dict[str, Any]) -> bool:
    """Whether the coordinator of a record lives: a number is used again, a number with its start time is not."""
    return bool(record) and record["boot"] == boot_id() and start_time(record["pid"]) == record["started"]


def marked(identifier: str) -> list[int]:
    """Processes that a sweep's coordinator has started, whatever their session, itself included."""
    mark, found = f"{MARK}={identifier}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0") and start_time(int(entry.name)) is not None:
                    found.append(int(entry.name))
    return found
