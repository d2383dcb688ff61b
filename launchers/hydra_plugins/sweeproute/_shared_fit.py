"""Knows what a job whose fit serves other points finds in its folder, what it leaves there."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

# What the task may answer for, put there for it to find.
OFFER = "prefix.json"
# A folder of each point below it, by the point's number.
FOLDER = "prefix"
# Written last of all into a point's folder: what its task would have returned.
VALUE = "value.json"

Identity = Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Follower:
    """A point that another one's job may answer for.

    Attributes:
        number: Its job number.
        overrides: Its overrides.
        value: Its value of the axis in which they differ, lower than that of the other.
    """

    number: int
    overrides: tuple[str, ...]
    value: int


@dataclass(frozen=True, slots=True)
class Group:
    """What a job may answer for beside itself.

    Attributes:
        key: Key of the config in which the points differ.
        value: The job's own value of it, the highest.
        followers: The other points.
    """

    key: str
    value: int
    followers: tuple[Follower, ...]


@dataclass(frozen=True)
class Answer:
    """A point that a job has answered for.

    Attributes:
        follower: The point.
        identity: The app's hashes of its config.
    """

    follower: Follower
    identity: Identity


def offer(folder: Path, group: Group | None, identify: Callable[[Follower], Identity]) -> None:
    """Let a task find what it may answer for.

    Args:
        folder: The attempt's, where the task runs.
        group: The points; None for none.
        identify: Hashes the config of one of them.
    """
    path = folder / OFFER
    if group is None:
        path.unlink(missing_ok=True)  # of an earlier sweep in this folder
        return
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    points = [
        {
            "job": one.number,
            "value": one.value,
            "overrides": list(one.overrides),
            "folder": f"{FOLDER}/{one.number}",
            "identity": identify(one),
        }
        for one in group.followers
    ]
    beside = path.with_name(f"{path.name}.{os.getpid()}~")
    beside.write_text(json.dumps({"key": group.key, "points": points}), encoding="utf-8")
    beside.replace(path)


def answers(folder: Path, group: Group) -> list[Answer]:
    """Read what a task has answered for, as far as it was asked to.

    Args:
        folder: The attempt's, here; what is in it may come from another machine.
        group: The points.
    """
    try:
        content = json.loads((folder / OFFER).read_text(encoding="utf-8"))
        said = {one["job"]: one for one in content["points"]}
    except (OSError, ValueError, KeyError, TypeError):
        return []
    found = []
    for follower in group.followers:
        entry = said.get(follower.number)
        whole = (folder / FOLDER / str(follower.number) / VALUE).is_file()
        if whole and isinstance(entry, dict) and entry.get("overrides") == list(follower.overrides):
            identity = entry.get("identity")
            found.append(Answer(follower, identity if isinstance(identity, dict) else None))
    return found


def clear(folder: Path) -> None:
    """Take away what was between a job and its task, once nobody needs it any more."""
    (folder / OFFER).unlink(missing_ok=True)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
