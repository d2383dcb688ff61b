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
            found = far.pull(pointer.folder, lambda path: _rename(path, pointer), everything=everything)
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


def remove(pointer: "Pointer") -> str:
    """Remove what a sweep's machine keeps of it.

    Returns:
        Why that cannot be done, in a sentence; empty where it is done.
    """
    from submitit_ssh.errors import FarError

    try:
        with channel(pointer, WORK_S) as far:
            far.ask("remove")
    except FarError as error:
        return str(error)
    return ""


def pause(platform: str, for_s: float | None, *, end: bool) -> list[str]:
    """Tell the machines of a platform on which coordinators may live that it is paused, or no longer.

    Args:
        platform: Its name.
        for_s: Seconds after which the pause ends by itself; None for never.
        end: Whether it ends now.

    Returns:
        Why a machine could not be told, a sentence each.
    """
    from submitit_ssh.errors import FarError
    from sweeproute import pointers

    machines: dict[Settings, Pointer] = {}
    for pointer in pointers.pointers():
        if pointer.on is not None and pointer.on.platform == platform and pointer.on.lived is not False:
            machines.setdefault(reach(pointer.on), pointer)
    problems = []
    for pointer in machines.values():
        try:
            with channel(pointer, WORK_S) as far:
                far.ask("pause", platform=platform, for_s=for_s, end=end)
        except FarError as error:
            problems.append(f"What coordinates {pointer.id} there could not be told: {error}")
    return problems


def _on(pointer: "Pointer") -> "Elsewhere":
    if pointer.on is None:
        raise ElsewhereError(f"{pointer.id} is a sweep of this machine.")
    return pointer.on


def _rename(path: Path, pointer: "Pointer") -> None:
    """Call in a record by its name here what has another there: the command, the data files."""
    from sweeproute.sweep_folder import own

    more: dict[str, Any] = {}
    if path == own(pointer.folder, "sweep.json"):
        more = {"argv": list(pointer.argv), "cwd": str(pointer.cwd), "python": pointer.python}
    elif path.name != "launch.json":
        return
    try:
        record = json.loads(path.read_bytes())
        words = [_here(str(word), pointer) for word in record.get("overrides") or ()]
    except (OSError, ValueError, AttributeError):
        return
    beside = path.with_name(f"{path.name}.{os.getpid()}~")
    # What nobody here has asked for is about the place alone.
    kept = [word for word in words if word in pointer.argv or word not in _ours(pointer)]
    beside.write_text(json.dumps(record | more | {"overrides": kept}), encoding="utf-8")
    beside.replace(path)


def _ours(pointer: "Pointer") -> set[str]:
    """The words of the command there, by their names here."""
    return {_here(word, pointer) for word in _on(pointer).words}


def _here(word: str, pointer: "Pointer") -> str:
    for there, here in _on(pointer).files.items():
        word = word.replace(there, here)
    return word
