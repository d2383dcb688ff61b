"""Keeps which scores of holdout seasons were taken, and which a sweep that runs is going to take.

Taken scores are lines of `holdout.jsonl` in the user's state directory, one for each sweep and model. What a sweep is
going to score is a claim: a file of its coordinator's, beside which that holds a lock until it ends, however it ends.
Whoever reads or writes either of them holds the lock of `held` meanwhile, so that of two sweeps at once one is first.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from sweeproute import pointers
from sweeproute.sweep_folder import SweepFolder, launch_record, own, sweep_record

FILE = "holdout.jsonl"
CLAIMS = "holdout-claims"
# The key that says that a trial is tested on the holdout, and which look at it this is.
SCORING = "validation.scoring"
# Of a line that takes back another one: nobody looked.
_TAKEN_BACK = "taken_back"
# What a line says beside what it is about.
_ASIDE = ("at", _TAKEN_BACK)
Record = Mapping[str, Any]

# This process's claims, by state directory: the file, the lock that says that it lives, what it claims.
_mine: dict[Path, tuple[Path, FileLock, list[dict[str, Any]]]] = {}


@contextmanager
def held() -> Iterator[None]:
    """Be the only one who reads or writes the record."""
    folder = pointers.state_directory()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{FILE}.lock"):
        yield


def scored() -> list[dict[str, Any]]:
    """What was noted and not taken back, the oldest first; a line that was cut by a crash is passed over."""
    try:
        content = (pointers.state_directory() / FILE).read_bytes()
    except FileNotFoundError:
        return []
    found: list[dict[str, Any]] = []
    for line in content.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get(_TAKEN_BACK):
            found = [one for one in found if about(one) != about(entry)]
        else:
            found.append(entry)
    return found


def about(entry: Record) -> dict[str, Any]:
    """What a line is about, without when it was written."""
    return {key: value for key, value in entry.items() if key not in _ASIDE}


def note(entry: Record) -> None:
    """Add a line, and have it on the disk before this returns."""
    path = pointers.state_directory() / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        # The newline before it ends a line that a crash has cut.
        os.write(descriptor, b"\n" + json.dumps({"at": time.time(), **entry}).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def take_back(entry: Record) -> bool:
    """Take back what a sweep has noted that died before any of its jobs has looked.

    Args:
        entry: A line of it.

    Returns:
        Whether it was; not where that sweep runs, where a job of it has begun, or where its folder cannot tell, as one
        in which a sweep has started afresh since, be it called the same.
    """
    root = next((one.folder for one in pointers.pointers() if one.id == entry["sweep"] and one.on is None), None)
    if root is None or not own(root, "sweep.json").is_file():
        return False
    try:
        # Who holds it runs the sweep.
        with FileLock(own(root, "lock"), timeout=0):
            if not _is_of(root, entry) or _has_begun(root, str(entry["model"])):
                return False
            note({**about(entry), _TAKEN_BACK: True})
    except (Timeout, OSError):
        return False
    return True


def _is_of(root: Path, entry: Record) -> bool:
    """Whether a folder still has the jobs of the sweep that a line is of.

    Who starts afresh in a folder removes the list of the jobs before it, and who goes on keeps when the sweep started.
    """
    record = sweep_record(root) or {}
    started, at = record.get("started"), entry.get("at")
    if record.get("id") != entry["sweep"] or started is None or at is None:
        return False
    return float(started) <= float(at)


def _has_begun(root: Path, model: str) -> bool:
    """Whether a job that scores a model on the holdout was ever sent off."""
    for attempt in SweepFolder(root).attempts():
        record = launch_record(attempt.folder)
        if record is None:
            return True
        scores = any(str(word).lstrip("+").startswith(f"{SCORING}=") for word in record.get("overrides") or ())
        if scores and str((record.get("fields") or {}).get("model_type")) == model:
            return True
    return False


def claim(entries: Sequence[Record]) -> None:
    """Say of what this process's sweep is going to score; it holds until the process ends.

    Args:
        entries: games_hash, seasons, model, sweep of each.
    """
    state = pointers.state_directory()
    if state not in _mine:
        folder = state / CLAIMS
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{uuid4().hex}.json"
        lock = FileLock(path.with_suffix(".lock"), thread_local=False)
        lock.acquire(timeout=0)
        _mine[state] = (path, lock, [])
    path, _, mine = _mine[state]
    mine += [one for one in map(dict, entries) if one not in mine]
    beside = path.with_name(f"{path.name}~")
    beside.write_text(json.dumps(mine), encoding="utf-8")
    beside.replace(path)


def claimed() -> list[dict[str, Any]]:
    """What other sweeps that run are going to score; the claims of those that have ended are removed."""
    state = pointers.state_directory()
    found: list[dict[str, Any]] = []
    for path in sorted((state / CLAIMS).glob("*.lock")):
        listed = path.with_suffix(".json")
        if state in _mine and listed == _mine[state][0]:
            continue
        try:
            with FileLock(path, timeout=0):
                # Its owner has died, or has ended: the kernel has let go of its lock.
                listed.unlink(missing_ok=True)
                path.unlink(missing_ok=True)
        except Timeout:
            with suppress(OSError, ValueError):
                found += json.loads(listed.read_text(encoding="utf-8"))
    return found
