"""`sweeproute cancel`: ends a sweep with all that runs of it, wherever, and looks whether anything is left."""

import argparse
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeproute.commands import Commands

if TYPE_CHECKING:
    import psutil

    from hydra_plugins.sweeproute._leftovers import Ended
    from sweeproute.pointers import Pointer
    from sweeproute.sweep_folder import Attempt

# Seconds that a coordinator has to stop in order; after the first it is asked by another signal, too: one that was
# started in the background by a script may not hear of SIGINT.
_STOPS_S = (15.0, 60.0)
_LOOK_S = 0.1
_OPEN = ("QUEUED", "RUNNING")
_WHY = "the sweep was cancelled"


class CancelError(RuntimeError):
    """A sweep that cannot be cancelled from here, or not now."""


def add(commands: Commands) -> None:
    """Add the command's words."""
    cancel = commands.add_parser("cancel", help="end a sweep, with all that runs of it on any machine")
    cancel.add_argument("sweep", metavar="SWEEP")
    cancel.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Stop the coordinator if one lives, end what is left, and say what was ended."""
    from filelock import FileLock, Timeout

    from sweeproute import pointers
    from sweeproute.sweep_folder import own, sweep_record

    pointer = pointers.find(asked.sweep)
    if pointer.on is not None:
        _elsewhere(pointer)
        return
    record = sweep_record(pointer.folder)
    if record is None or record.get("id") != pointer.id:
        raise CancelError(f"The folder of sweep {pointer.id}, {pointer.folder}, is not there any more: nothing to end.")
    over = record.get("state") == "KILLED" and not _open(pointer.folder)
    stopped = _stop(pointer.id, pointer.folder, record)
    try:
        with FileLock(own(pointer.folder, "lock"), timeout=0):
            left = _end_the_rest(pointer.folder, sweep_record(pointer.folder) or record)
    except Timeout:
        raise CancelError(f"Another process is at work in {pointer.folder}. Wait for it, then cancel again.") from None
    if over and not stopped:
        print(f"{pointer.id} had been stopped before. `sweeproute resume {pointer.id}` goes on with it.")
    else:
        _say_counts(pointer.id, pointer.folder, stopped)
    if left:
        sys.exit(1)


def _elsewhere(pointer: "Pointer") -> None:
    """Have what keeps the coordinator on another machine end it, with all that it has started there."""
    from submitit_ssh.errors import FarError
    from sweeproute.commands import elsewhere

    assert pointer.on is not None
    platform = pointer.on.platform
    try:
        with elsewhere.channel(pointer, elsewhere.WORK_S) as far:
            print(f"The coordinator of {pointer.id} on {platform} is asked to stop.", flush=True)
            told = far.ask("stop", patience_s=sum(_STOPS_S) + 2 * elsewhere.WORK_S)
    except FarError as error:
        raise CancelError(f"{error} Nothing has been ended; cancel again when {platform} is back.") from None
    contact = elsewhere.bring(pointer, everything=False, patience_s=elsewhere.WORK_S)
    if not told["gone"]:
        print(f"{platform}: some of its processes have not ended.")
        sys.exit(1)
    print(f"{platform}: nothing of it is left there.")
    if told["lived"] or told["ended"]:
        _say_counts(pointer.id, pointer.folder, stopped=True)
    elif elsewhere.progress_of(contact).state == "finished":
        print(f"{pointer.id} had ended by itself.")
    else:
        print(f"{pointer.id} had been stopped before. `sweeproute resume {pointer.id}` goes on with it.")


def coordinator(folder: Path, record: dict[str, Any]) -> "psutil.Process | None":
    """The process that runs a sweep.

    Args:
        folder: The sweep's.
        record: The sweep's record.

    Returns:
        None where none does.

    Raises:
        CancelError: It is on another machine, or the record names a process that cannot be it.
    """
    import socket

    import psutil

    from sweeproute.progress import is_running
    from sweeproute.sweep_folder import own

    if not is_running(folder, record):
        return None
    pid, host = record.get("pid"), record.get("host")
    if host not in (None, socket.gethostname()):
        raise CancelError(f"It is run by process {pid} on {host}: cancel it there, or stop that process.")
    try:
        process = psutil.Process(int(str(pid)))
        # Its number may be another's by now: who wrote the record was there before it, or was started with its words.
        began, words = process.create_time(), process.cmdline()
    except (psutil.Error, ValueError):
        began, words = float("inf"), []
    script = str((record.get("argv") or [""])[0])
    if began > own(folder, "sweep.json").stat().st_mtime + 1 and script not in words:
        raise CancelError(
            f"Somebody is at work in {folder}, and it is not process {pid}, which the record names; a sync, maybe. "
            "Wait for it, then cancel again."
        )
    return process


def _open(folder: Path) -> bool:
    """Whether a record says of a job that it runs, or waits on a platform."""
    from sweeproute.sweep_folder import SweepFolder, launch_record

    return any((launch_record(one.folder) or {}).get("state") in _OPEN for one in SweepFolder(folder).attempts())


def _stop(sweep: str, folder: Path, record: dict[str, Any]) -> bool:
    """Have the coordinator stop in order; whether there was one."""
    import psutil

    process = coordinator(folder, record)
    if process is None:
        return False
    print(f"Process {process.pid}, which runs {sweep}, is asked to stop.", flush=True)
    for patience_s, number in zip(_STOPS_S, (signal.SIGINT, signal.SIGTERM), strict=True):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
        if _ends(process, patience_s):
            return True
    raise CancelError(
        f"Process {process.pid} has not stopped within {sum(_STOPS_S):.0f} s. `kill -9 {process.pid}` ends it for "
        f"certain; then `sweeproute cancel {sweep}` ends what it leaves."
    )


def _ends(process: "psutil.Process", patience_s: float) -> bool:
    """Whether a process has ended before this time is over; one that its parent has not taken note of has."""
    import psutil

    deadline = time.monotonic() + patience_s
    with suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_S)
    return True


def _end_the_rest(folder: Path, record: dict[str, Any]) -> bool:
    """End what no coordinator ended: jobs on far machines, records of jobs that are gone; whether any may be left."""
    from hydra_plugins.sweeproute._records import DONE, write_json
    from sweeproute.sweep_folder import SweepFolder, launch_record, own

    attempts = [(attempt, launch_record(attempt.folder)) for attempt in SweepFolder(folder).attempts()]
    known = [(attempt, launch) for attempt, launch in attempts if launch is not None]
    owner = str(record.get("owner"))
    ids: dict[str, list[str]] = {}
    for _, launch in known:
        if launch.get("far"):
            there = ids.setdefault(str(launch["platform"]), [])
            there += [str(launch["far"]["id"])] if launch["state"] in _OPEN else []
    # All of them, and not only up to the first where something is left.
    left = [not _end_there(folder, platform, owner, identifiers) for platform, identifiers in ids.items()]
    left.append(not _end_in_slurm(folder))
    finished = {launch["job"] for _, launch in known if launch["state"] in DONE}
    for attempt, launch in known:
        if launch["state"] in _OPEN:
            _record_end(attempt, launch, current=launch["job"] not in finished)
    if record.get("state") == "RUNNING":
        write_json(own(folder, "sweep.json"), record | {"state": "KILLED", "ended": time.time()})
    return any(left)


def _record_end(attempt: "Attempt", launch: dict[str, Any], *, current: bool) -> None:
    from hydra_plugins.sweeproute._records import LAUNCH, write_json

    now = time.time()
    ran = launch["state"] == "RUNNING"
    error = {"class": "killed", "type": "", "message": _WHY, "traceback": ""}
    ended = {"state": "KILLED", "current": current, "ended_at": now, "error": error}
    write_json(attempt.folder / LAUNCH, launch | ended | {"run_s": now - launch["started_at"] if ran else 0.0})


def _end_there(folder: Path, platform: str, owner: str, identifiers: list[str]) -> bool:
    """End a sweep's jobs on one far machine, and say so; whether nothing is left there."""
    from hydra_plugins.sweeproute import _leftovers
    from sweeproute.commands import hardware
    from sweeproute.commands.check import note

    registry = hardware.of_sweep(folder)
    entry = registry.settings.get(platform) if registry is not None else None
    if entry is None or entry.host is None:
        print(f"{platform}: its host is not known any more, so {len(identifiers)} jobs may be left there.")
        return not identifiers
    ended = _leftovers.end(platform, entry, owner, identifiers, note)
    _say(platform, ended)
    if ended.kept:
        print(f"  {ended.kept} jobs may run there; the next contact with it, by a sweep or a command, ends them.")
    return not ended.problem


def _end_in_slurm(folder: Path) -> bool:
    """End a sweep's jobs in SLURM's queue, and say so; whether nothing is left there."""
    from hydra_plugins.sweeproute import _leftovers
    from sweeproute.sweep_folder import own

    jobs = own(folder, "slurm")
    if not jobs.is_dir():
        return True
    ended = _leftovers.end_in_slurm(jobs.parent)
    _say("SLURM", ended)
    return not ended.problem


def _say(where: str, ended: "Ended") -> None:
    what = [f"{count} {word}" for count, word in ((ended.running, "running"), (ended.waiting, "waiting")) if count]
    said = f"{' and '.join(what)} jobs ended; " if what else ""
    print(f"{where}: {said}{ended.problem or 'nothing of it is left there'}.")


def _say_counts(sweep: str, folder: Path, stopped: bool) -> None:
    from sweeproute import sweep_folder
    from sweeproute.tracking_status import saved_settings

    states = [outcome.state for outcome in sweep_folder.SweepFolder(folder).outcomes()]
    record = sweep_folder.sweep_record(folder) or {}
    done, killed = states.count("FINISHED") + states.count("PRUNED"), states.count("KILLED")
    if record.get("state") == "FINISHED":
        print(f"{sweep} had ended by itself: {done} jobs are done.")
        return
    print(
        f"{sweep} is cancelled: {done} jobs are done, {killed} were ended. `sweeproute resume {sweep}` goes on with it."
    )
    if not stopped and saved_settings(folder) is not None:
        print(f"`sweeproute sync {sweep}` writes these ends to MLflow.")
