"""Ends what a sweep has left on far machines or in SLURM's queue, and looks whether anything of it is left."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from submitit_ssh.errors import FarError

from . import _slurm_queue
from ._errand import Errand
from ._pending import PendingCancels
from ._reach import reach_of
from .config import PlatformConf

# Seconds until processes that were asked to end, then told to, are gone; and between looks.
_GONE_S = 20.0
_LOOK_S = 0.2


@dataclass(frozen=True)
class Ended:
    """What was ended on one platform.

    Attributes:
        running, waiting: Jobs that ran, and jobs in its queue.
        problem: Why it is not known that nothing is left, as a clause; empty where that was seen.
        kept: Jobs that are to be ended at the next contact.
    """

    running: int = 0
    waiting: int = 0
    problem: str = ""
    kept: int = 0


def end(
    platform: str, entry: PlatformConf, owner: str, identifiers: Sequence[str], notes: Callable[[str], None]
) -> Ended:
    """End all jobs of a sweep on one platform, with whatever they have started.

    Args:
        platform: Its name.
        entry: Its entry in the registry.
        owner: The sweep's name there; what it finds under this name ends too, on record here or not.
        identifiers: The jobs that are on record here as not having ended.
        notes: Called with what the person waits for, in a sentence.

    Returns:
        What was ended. Where the machine cannot be told, it will be at the next contact.

    Raises:
        SettingsError: It has no host.
    """
    reach = reach_of(platform, entry)
    pending = PendingCancels(platform, reach.host)
    errand = Errand(platform, reach, notes, delivers=False)  # only once it is known what that ends
    told = False
    try:
        with errand:
            states = {job["id"]: job["state"] for job in _jobs(errand, owner, identifiers)}
            wanted = list(dict.fromkeys([*identifiers, *states]))
            pending.deliver(errand.machine)
            if wanted:
                errand.ask("settle", ids=wanted)
            told = True
            left = _wait_gone(errand, owner, wanted)
    except FarError as error:
        if not told:
            pending.keep(identifiers)
        return Ended(problem=str(error).rstrip("."), kept=0 if told else len(pending.kept()))
    running, waiting = (list(states.values()).count(state) for state in ("running", "queued"))
    return Ended(running, waiting, f"{left} of its jobs have not ended within {_GONE_S:g} s" if left else "")


def end_in_slurm(ours: Path) -> Ended:
    """End what a coordinator that died has left in SLURM's queue.

    Args:
        ours: The folder of the sweep's own files.

    Returns:
        What was ended.
    """
    try:
        kept = (ours / "slurm" / "jobs.txt").read_text(encoding="utf-8")
    except OSError:
        return Ended()
    jobs = re.findall(r"^\d+(?:_\d+)?$", kept, re.MULTILINE)
    deadline = time.monotonic() + _GONE_S
    try:
        running, waiting = _in_slurm(jobs)
        _slurm_queue.cancel(jobs)
        while any(_in_slurm(jobs)):
            if time.monotonic() > deadline:
                return Ended(running, waiting, f"its jobs have not ended within {_GONE_S:g} s")
            time.sleep(_LOOK_S)
    except _slurm_queue.SlurmSilentError as error:
        return Ended(problem=f"does not answer ({error})")
    return Ended(running, waiting)


def _in_slurm(jobs: Sequence[str]) -> tuple[int, int]:
    """How many of these jobs run, and how many wait."""
    states = _slurm_queue.states(jobs)
    active = [states[job][0] for job in jobs if job in states and states[job][0] in _slurm_queue.ACTIVE]
    waiting = active.count("PENDING")
    return len(active) - waiting, waiting


def _wait_gone(errand: Errand, owner: str, identifiers: Sequence[str]) -> int:
    """How many are left, once they had their time to end."""
    deadline = time.monotonic() + _GONE_S
    while left := len(_jobs(errand, owner, identifiers)):
        if time.monotonic() > deadline:
            return left
        time.sleep(_LOOK_S)
    return 0


def _jobs(errand: Errand, owner: str, identifiers: Sequence[str]) -> list[dict[str, str]]:
    wanted = frozenset(identifiers)
    return [job for job in errand.ask("status")["jobs"] if job["owner"] == owner or job["id"] in wanted]
