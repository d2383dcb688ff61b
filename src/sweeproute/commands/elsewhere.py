"""Follows a sweep whose coordinator runs on another machine, for the commands that are asked about it."""

import dataclasses
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra_plugins.sweeproute._far_sweep import FarSweep
    from submitit_ssh.ssh import Settings
    from sweeproute.pointers import Elsewhere, Pointer
    from sweeproute.progress import Progress

# Seconds that a machine has to answer: one that is asked for a look, and one that is to do something.
LOOK_S = 6.0
WORK_S = 20.0
# Held by whoever brings a sweep home.
LOCK = "home.lock"
# Seconds that the start of a coordinator is followed.
_STARTS_S = 60.0


class ElsewhereError(LookupError):
    """A sweep on another machine cannot be followed from here, or not now."""


@dataclass(frozen=True)
class Contact:
    """What an attempt to reach a sweep's machine has brought."""

    # With what was seen.
    pointer: "Pointer"
    # Why the machine is out of reach, in a sentence; empty where it has answered.
    problem: str
    # Whether the coordinator lives: as it was seen last where the machine is out of reach, None where it never was.
    living: bool | None
    # How many files came, and what did not come, a clause each.
    files: int = 0
    left_out: tuple[str, ...] = ()


def reach(on: "Elsewhere") -> "Settings":
    """How ssh gets to the machine of a sweep."""
    from submitit_ssh.ssh import Settings

    return Settings(on.host, on.ssh_config, python=on.serves, root=on.root)


def channel(pointer: "Pointer", patience_s: float) -> "FarSweep":
    """A channel to what keeps the coordinator there; see FarSweep."""
    from hydra_plugins.sweeproute._far_sweep import FarSweep

    return FarSweep(reach(_on(pointer)), pointer.id, patience_s)


def bring(pointer: "Pointer", *, everything: bool, patience_s: float) -> Contact:
    """Bring home what has changed of a sweep.

    Args:
        pointer: A sweep that runs elsewhere.
        everything: All of its files, or only the records from which its progress is read.
        patience_s: Seconds of silence after which the machine counts as out of reach.

    Returns:
        What came of it; no error where the machine is out of reach.
    """
    from filelock import FileLock, Timeout

    from submitit_ssh.errors import FarError
    from sweeproute.sweep_folder import own

    on = _on(pointer)
    own(pointer.folder, "").mkdir(parents=True, exist_ok=True)
    try:
        # Two that write the same file at once would make one of two versions.
        with FileLock(own(pointer.folder, LOCK), timeout=patience_s), channel(pointer, patience_s) as far:
            found = far.pull(pointer.folder, everything=everything)
            _rewrite(pointer)
    except FarError as error:
        return Contact(pointer, str(error), on.lived)
    except Timeout:
        return Contact(pointer, f"Another process brings {pointer.id} home.", on.lived)
    seen = saw(pointer, bool(found["alive"]))
    return Contact(seen, "", bool(found["alive"]), int(found["files"]), tuple(found["left_out"]))


def saw(pointer: "Pointer", living: bool) -> "Pointer":
    """Note that a sweep's machine has answered."""
    from sweeproute import pointers

    seen = dataclasses.replace(pointer, on=dataclasses.replace(_on(pointer), seen=time.time(), lived=living))
    pointers.save(seen)
    return seen


def progress_of(contact: Contact) -> "Progress":
    """How far a sweep is, as its records here say and its coordinator was seen to live or not."""
    from sweeproute.progress import progress

    # Who has not been seen yet is believed to live.
    return progress(contact.pointer, contact.living is not False)


def start(pointer: "Pointer", far: "FarSweep", words: tuple[str, ...], **more: Any) -> Mapping[str, Any]:
    """Start a coordinator there, and wait until it has its sweep or has ended.

    Args:
        pointer: The sweep.
        far: A channel to its machine.
        words: The script and its words.
        more: again, and what is laid out before a first start.

    Returns:
        pid; has, whether it has the sweep; code, its exit code where it has ended; payload, its last words then.

    Raises:
        submitit_ssh.errors.FarError: The machine is out of reach, or has refused.
    """
    on = _on(pointer)
    copied = {name: os.environ[name] for name in on.copied if name in os.environ}
    return far.ask(
        "start",
        patience_s=_STARTS_S + WORK_S,
        python=on.python,
        words=list(words),
        cwd=on.cwd,
        path=list(on.path),
        variables={**on.variables, **copied},
        wait_s=_STARTS_S,
        **more,
    )


def _on(pointer: "Pointer") -> "Elsewhere":
    if pointer.on is None:
        raise ElsewhereError(f"{pointer.id} is a sweep of this machine.")
    return pointer.on


def _rewrite(pointer: "Pointer") -> None:
    """Call in the records by their names here what had others there: the command, the data files."""
    from sweeproute.sweep_folder import SweepFolder, own

    command = {"argv": list(pointer.argv), "cwd": str(pointer.cwd), "python": pointer.python}
    _change(own(pointer.folder, "sweep.json"), pointer, command)
    if _on(pointer).files:
        for attempt in SweepFolder(pointer.folder).attempts():
            _change(attempt.folder / "launch.json", pointer, {})


def _change(path: Path, pointer: "Pointer", more: Mapping[str, Any]) -> None:
    """Change a record in its place, and keep its time, by which it is told whether it is still that of over there."""
    try:
        stamp, record = path.stat().st_mtime_ns, json.loads(path.read_bytes())
        words = [_here(str(word), _on(pointer).files) for word in record.get("overrides") or ()]
    except (OSError, ValueError, AttributeError):
        return
    changed = record | more | {"overrides": words}
    if changed != record:
        beside = path.with_name(f"{path.name}.{os.getpid()}~")
        beside.write_text(json.dumps(changed), encoding="utf-8")
        os.utime(beside, ns=(stamp, stamp))
        beside.replace(path)


def _here(word: str, files: Mapping[str, str]) -> str:
    for there, here in files.items():
        word = word.replace(there, here)
    return word
