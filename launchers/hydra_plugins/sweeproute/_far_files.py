"""Reads a sweep's files on a far machine, for their way home: a part of what is sent there."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ._far_coordinator import LOG, OWN, RECORD, SWEEP, Asked, Frames, alive, below, home_of, read_json

# Under which name the coordinator's log is brought home.
LOG_HOME = f"{OWN}/coordinator.log"
# What each side has for itself in our own folder of a sweep; and folders of jobs that only their next attempts need.
STAYS = (
    *("lock", "home.lock", "tracking.lock", "tracking.json", "tracking.log", "payload.pkl"),
    *("report_wanted.json", "report.json", "report.log"),
)
_STAY_FOLDERS = ("checkpoint", "__pycache__")
_CHUNK = 1 << 18


def read(asked: Asked, _: bytes) -> Frames:
    """Read a piece of a file of the sweep; say what is recorded of the job in whose folder it lies."""
    home = home_of(asked)
    path = below(home / SWEEP, asked["path"])
    lives, state = alive(read_json(home / RECORD)), read_json(path.with_name("launch.json")).get("state")
    data, size = b"", 0
    with contextlib.suppress(OSError), _opened(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        stream.seek(asked["offset"])
        data = stream.read(_CHUNK)
    yield {"op": "read", "size": size, "state": state, "alive": lives}, data


def _opened(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def files_of(sweep: Path) -> Iterator[tuple[Path, str]]:
    """Files of a sweep, by path and by their name in it; no link to a folder is followed."""
    for place, folders, names in os.walk(sweep):
        folders[:] = [name for name in folders if name not in _STAY_FOLDERS]
        for name in names:
            path = Path(place, name)
            ours = path.parent == sweep / OWN
            if not name.endswith("~") and not (ours and name in STAYS):
                yield path, path.relative_to(sweep).as_posix()


def pull(asked: Asked, payload: bytes) -> Frames:
    """Send what has changed: all that records and journals speak of, then journals as long as they were, then records.

    Each record and each journal is thus of a moment before the files that it speaks of were read.
    """
    home = home_of(asked)
    sweep, have = home / SWEEP, json.loads(payload or b"{}")
    named = {f"{OWN}/sweep.json", f"{OWN}/jobs.jsonl"}
    files = list(files_of(sweep))
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
        others = [(path, name) for path, name in files_of(sweep) if not _grows(name) and name not in named]
        for path, name, found in (*_looked([*others, (home / LOG, LOG_HOME)]), *journals):
            if stat.S_ISREG(found.st_mode) and have.get(name) != [found.st_size, found.st_mtime_ns]:
                count += 1
                with contextlib.suppress(OSError), _opened(path) as stream:
                    yield from _pieces(name, found.st_mtime_ns, stream, found.st_size)
    # What leads to the attempts comes last.
    for name, stamp, data in sorted(records, key=lambda one: one[0].startswith(OWN)):
        yield from _pieces(name, stamp, io.BytesIO(data), len(data))
    yield {"op": "pulled", "files": count, "alive": alive(read_json(home / RECORD))}, b""


def _grows(name: str) -> bool:
    return name.endswith(".jsonl")


def _looked(files: list[tuple[Path, str]]) -> Iterator[tuple[Path, str, os.stat_result]]:
    for path, name in files:
        with contextlib.suppress(OSError):
            yield path, name, path.lstat()


def _pieces(name: str, stamp: int, stream: BinaryIO, size: int) -> Frames:
    offset, last = 0, False
    while not last:
        data = stream.read(min(_CHUNK, size - offset))
        last = offset + len(data) >= size or not data
        yield {"op": "file", "path": name, "offset": offset, "last": last, "mtime_ns": stamp}, data
        offset += len(data)
