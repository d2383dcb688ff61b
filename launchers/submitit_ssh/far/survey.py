"""Finds what of a far machine's disk nobody needs, in a process of its own: that takes a walk through all of it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from . import specs

# Seconds since its last use for which nothing goes because there is too much of it.
RECENT_S = 86400.0
# What is asked, in the root.
QUESTION = "cleaning.json"
# Who holds what an environment names in which jobs have come lately.
_SOMEBODY = ""


class Content(NamedTuple):
    """Staged content that may go.

    Attributes:
        kind: store or trees.
        sha: Its name.
        used_ns: When it was used last, in nanoseconds since the epoch.
        bytes: What it takes.
        holders: Ids of the jobs that have to go before it.
    """

    kind: str
    sha: str
    used_ns: int
    bytes: int
    holders: list[str]


def say(root: str) -> None:
    """Print what `find` finds, as JSON."""
    question = Path(root, QUESTION)
    wish = json.loads(question.read_text(encoding="utf-8"))
    question.unlink()
    sys.stdout.write(json.dumps(find(Path(root), time.time(), **wish)))


def find(root: Path, now: float, unused_s: float, limit_gb: float | None, given_up: list[str]) -> dict[str, Any]:
    """Find what may go.

    Args:
        root: The folder in which everything is kept.
        now: Seconds since the epoch.
        unused_s: Seconds since the last use of what goes for its age.
        limit_gb: GB that staged content may take; what was used within a day stays all the same. None is any number.
        given_up: Ids of jobs that go, too.

    Returns:
        contents, each as `Content`, the longest unused first; jobs, by id the bytes that each takes.
    """
    holders = _holders(root, now)
    contents = sorted(_contents(root), key=lambda one: one.used_ns)
    total = sum(one.bytes for one in contents)
    limit = float("inf") if limit_gb is None else limit_gb * 1e9
    going, gone = [], set(given_up)
    for one in contents:
        holding = holders.get(one.sha, set())
        age_s = now - one.used_ns / 1e9
        if holding <= gone and (age_s > unused_s or (total > limit and age_s > RECENT_S)):
            going.append(one._replace(holders=sorted(holding)))
            total -= one.bytes
    jobs = {identifier: _size(root / "jobs" / identifier) for identifier in given_up}
    return {"contents": going, "jobs": jobs}


def _holders(root: Path, now: float) -> dict[str, set[str]]:
    """The jobs that hold staged content, by its hash: they name it, or their environments do."""
    holders: dict[str, set[str]] = {}
    by_environment: dict[str, set[str]] = {}

    def note(text: str, holding: set[str]) -> None:
        for sha in specs.shas(text):
            holders.setdefault(sha, set()).update(holding)

    for folder in _listed(root / "jobs"):
        # One that is settled meanwhile, or is only being made: the supervisor knows of that.
        with contextlib.suppress(OSError, ValueError, KeyError):
            text = (folder / "spec.json").read_text(encoding="utf-8")
            note(text, {folder.name})
            by_environment.setdefault(json.loads(text.partition("\n")[0])["environment"], set()).add(folder.name)
    for path in _listed(root / "environments"):
        if path.suffix == ".json":
            with contextlib.suppress(OSError):
                holding = by_environment.get(path.stem, set())
                recent = now - path.stat().st_mtime <= RECENT_S
                if holding or recent:
                    note(path.read_text(encoding="utf-8"), holding | ({_SOMEBODY} if recent else set()))
    return holders


def _contents(root: Path) -> Iterator[Content]:
    for kind in ("store", "trees"):
        for path in _listed(root / kind):
            if specs.is_sha(path.name):
                with contextlib.suppress(OSError):
                    yield Content(kind, path.name, path.stat().st_mtime_ns, _size(path), [])


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    size = 0
    ahead = [str(path)]
    while ahead:
        at = ahead.pop()
        try:
            with os.scandir(at) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        ahead.append(entry.path)
                    else:
                        with contextlib.suppress(OSError):
                            size += entry.stat(follow_symlinks=False).st_size
        except NotADirectoryError:
            size += os.lstat(at).st_size
        except OSError:
            continue
    return size
