"""Finds a sweep's folder by the sweep's id, its name or `last`."""

import difflib
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

LAST = "last"


class NoSuchSweepError(LookupError):
    """No sweep has this id or name."""


class SweepGoneError(LookupError):
    """A sweep is known, and what it needs to go on is not there."""


@dataclass(frozen=True)
class Elsewhere:
    """Where the coordinator of a sweep is that was started from here on another machine."""

    # The platform's name in the registry, and how ssh reaches it.
    platform: str
    host: str
    ssh_config: str | None
    # The Python of that machine which serves this one, and the one that runs the sweep.
    serves: str
    python: str
    # The folder there for all of ours, None for the usual one; the folder there of this sweep.
    root: str | None
    folder: str
    # What the Python there was given: the script and its words; its working folder and its module folders in the code.
    words: tuple[str, ...]
    cwd: str
    path: tuple[str, ...]
    # Environment variables that it was given, and the names of those whose values are not kept.
    variables: dict[str, str]
    copied: tuple[str, ...]
    # Paths in the overrides there, and what each is called here.
    files: dict[str, str]
    # Seconds since 1970 of the last contact, and whether the coordinator lived; None where there was none.
    seen: float | None = None
    lived: bool | None = None


@dataclass(frozen=True)
class Pointer:
    """Where a sweep that was started on this machine lies."""

    id: str
    name: str | None
    folder: Path
    # The command line that started it.
    argv: tuple[str, ...]
    # Working directory and interpreter of that command.
    cwd: Path
    python: str
    # Seconds since 1970.
    started: float
    # Where its coordinator is, if not on this machine; the folder holds what was brought home.
    on: Elsewhere | None = None

    def check_there(self) -> None:
        """Refuse a sweep that cannot be gone on with, since what it needs has been removed or moved.

        Raises:
            SweepGoneError: Its folder, its working directory or its interpreter is not there.
        """
        needed = {"folder": self.folder, "working directory": self.cwd, "Python": Path(self.python)}
        for what, path in needed.items():
            if not path.exists():
                raise SweepGoneError(
                    f"The {what} of sweep {self.id}, {path}, is not there any more; put it back, or start a new sweep."
                )


def state_directory() -> Path:
    """Where what outlives a sweep is kept: `$SWEEPROUTE_STATE`, else the user's state directory."""
    if chosen := os.environ.get("SWEEPROUTE_STATE"):
        return Path(chosen)
    from platformdirs import user_state_path

    return user_state_path("sweeproute")


def pointers() -> list[Pointer]:
    """All sweeps that were started on this machine, the newest first."""
    found = []
    for path in (state_directory() / "sweeps").glob("*.json"):
        try:
            entry = json.loads(path.read_bytes())
            found.append(
                Pointer(
                    id=str(entry["id"]),
                    name=entry.get("name"),
                    folder=Path(entry["folder"]),
                    argv=tuple(entry.get("argv") or ()),
                    cwd=Path(entry.get("cwd") or "."),
                    python=str(entry.get("python") or ""),
                    started=float(entry.get("started") or 0),
                    on=_elsewhere(entry["on"]) if entry.get("on") else None,
                )
            )
        except (OSError, ValueError, TypeError, KeyError):
            # Half a pointer, or one of another version, must not hide the others.
            continue
    return sorted(found, key=lambda pointer: (pointer.started, pointer.id), reverse=True)


def save(pointer: Pointer) -> None:
    """Write a pointer to a sweep that runs elsewhere; those to sweeps of this machine are the launcher's to write."""
    path = state_directory() / "sweeps" / f"{pointer.id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}~")
    entry = {**asdict(pointer), "folder": str(pointer.folder), "cwd": str(pointer.cwd)}
    beside.write_text(json.dumps(entry), encoding="utf-8")
    beside.replace(path)


def remove(pointer: Pointer) -> None:
    """Forget a sweep."""
    (state_directory() / "sweeps" / f"{pointer.id}.json").unlink(missing_ok=True)


def _elsewhere(entry: dict[str, Any]) -> Elsewhere:
    known = {one.name for one in fields(Elsewhere)}
    found = {name: value for name, value in entry.items() if name in known}
    listed = {name: tuple(found[name]) for name in ("words", "path", "copied")}
    return Elsewhere(**{**found, **listed})


def find(sweep: str) -> Pointer:
    """Find a sweep.

    Args:
        sweep: Its id, its name (the newest of that name), or `last` for the newest of all.

    Returns:
        The pointer.

    Raises:
        NoSuchSweepError: There is none; the message names the nearest.
    """
    known = pointers()
    for pointer in known:
        if sweep in (LAST, pointer.id):
            return pointer
    for pointer in known:
        if sweep == pointer.name:
            return pointer
    raise NoSuchSweepError(no_such_sweep(sweep, [name for p in known for name in (p.id, p.name) if name]))


def no_such_sweep(sweep: str, known: list[str]) -> str:
    """The sentence for a sweep that is not there.

    Args:
        sweep: What was asked for.
        known: Ids and names of those that are, the newest first.
    """
    if not known:
        return "No sweep was started here yet; start one with `python train.py -m model=xgboost`."
    near = difflib.get_close_matches(sweep, known, n=3, cutoff=0.5) or known[:3]
    return f"There is no sweep {sweep!r}; the nearest are {', '.join(near)}. `last` is the newest."
