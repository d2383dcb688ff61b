"""Ends jobs with all that they have started, and tells what ended them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Collection
from pathlib import Path

from . import processes, resources
from .forker import AGAIN, NO_FILES, NO_RESULT
from .job_folder import Run, has_result, has_survived, read_failure, read_run
from .loop import Loop
from .records import Job, Records

# Seconds between looks at a process, on a kernel that has no descriptors of processes.
_POLL_S = 0.5


def cause(job: Job, records: Records, code: int | None, number: int | None) -> tuple[str | None, str]:
    """Class and message of a job's end.

    Args:
        job: Its process is gone.
        records: Where its files are.
        code: What its process exited with, where somebody could tell.
        number: The signal that ended it, where somebody could tell.

    Returns:
        The class, None where it ended by itself and left a result, and the message.
    """
    folder = records.folder(job.id)
    assert job.run is not None
    before = job.run.boot_id != processes.boot_id()
    result = has_result(folder) and (not before or has_survived(folder))
    # One that has left its result has been quicker than its limits; who cancels it does not want that either.
    if job.ending is not None and (not result or job.ending[0] == "cancelled"):
        return job.ending[0], job.ending[1]
    if result:
        return None, ""
    failure = read_failure(folder)
    if failure:
        return failure["class"], failure["message"]
    if before:
        what = "before what it had left was on the disk" if has_result(folder) else "while it ran"
        return "lost", f"the machine was started anew {what}"
    if code in (NO_FILES, NO_RESULT):
        free = resources.disk_free_gb(records.root)
        return "precheck", f"its files cannot be kept in {records.root}, where {free:.3f} GB are free"
    if number == signal.SIGKILL and resources.memory_kills() > job.kills_before:
        return "out_of_memory", "the kernel ended it because memory ran out"
    if number is not None:
        return "killed", f"its process was ended by {signal.Signals(number).name}"
    if code is not None:
        return "killed", f"its process ended with code {code} and left no result"
    return "killed", "its process ended while nobody watched it, and left no result"


def asks_again(job: Job, records: Records) -> bool:
    """Whether a job whose process is gone has asked to be queued once more; then it is as if it had not run."""
    asked = processes.read(str(records.folder(job.id) / AGAIN)).split()
    # By the process that has ended now, not by an earlier one; by what it has written of itself, since of one that
    # was quick its start could not be seen any more.
    run = read_run(records.folder(job.id)) if asked else None
    if run is None or job.ending is not None or asked != [b"%d" % run.pid, b"%d" % run.start_time]:
        return False
    kill_rest(job)
    (records.folder(job.id) / "run.json").unlink()
    job.state, job.run, job.slot, job.gpu, job.below = "queued", None, None, [], []
    return True


def strike(job: Job, number: int) -> None:
    """Send a signal to a running job's group; with SIGKILL also to all below its process, whatever their group."""
    assert job.run is not None
    # Noted with each signal: when a process has ended, what was below it cannot be told any more.
    job.below += processes.descendants(job.run.pid)
    processes.signal_group(job.run.pid, number)
    if number == signal.SIGKILL:
        processes.kill(job.below)


def send(job: Job | None, name: str) -> None:
    """Send a signal to a running job's own process.

    Raises:
        ValueError: It does not run, or there is no such signal.
    """
    number = getattr(signal.Signals, f"SIG{name.upper()}", None)
    if job is None or job.run is None or job.state != "running":
        raise ValueError("the job does not run")
    if number is None:
        raise ValueError(f"there is no signal {name!r:.40}")
    if processes.start_time(job.run.pid) == job.run.start_time:
        os.kill(job.run.pid, number)


def kill_rest(job: Job) -> None:
    """Kill what a job whose process is gone has left, in its group and outside of it."""
    processes.kill(job.below)
    if job.run is None or job.run.pid <= 0 or job.run.boot_id != processes.boot_id():
        return
    left = [pid for pid, identifier in processes.marked() if identifier == job.id]
    if processes.start_time(job.run.pid) is None:  # else its number, and the group's, is another's by now
        left += processes.groups().get(job.run.pid, [])
    _kill(left)


def sweep(active: Collection[Job], ours: Collection[int], slots: Path) -> None:
    """Kill what jobs that have ended left behind in sessions of its own, and which has come to this process.

    Args:
        active: Jobs that have not ended.
        ours: Children that are something else.
        slots: The folder of the locks: a process that a job has only forked is told by the one that it holds.
    """
    strangers = [pid for pid in processes.children() if pid not in ours]
    if not strangers:
        return
    ids, taken = {job.id for job in active}, {slots / f"{job.slot}.lock" for job in active}
    marked = dict(processes.marked(strangers))
    left = [pid for pid, identifier in marked.items() if identifier not in ids]
    for pid in strangers:
        held = [path for path in processes.open_files(pid) if path.parent == slots]
        if pid not in marked and held and not taken.intersection(held):
            left.append(pid)
    _kill(left)


def is_ours(run: Run) -> bool:
    """Whether a job's process is a child of this one, which reaps it and hears what ended it."""
    same = run.boot_id == processes.boot_id() and processes.start_time(run.pid) in (run.start_time, None)
    return same and processes.is_child(run.pid)


def when_gone(loop: Loop, run: Run, call: Callable[[], None]) -> bool:
    """Call once when a process that is no child has ended.

    Returns:
        Whether it lives; where it does not, nothing is called.
    """
    descriptor = -1
    with contextlib.suppress(OSError, AttributeError):
        descriptor = os.pidfd_open(run.pid)
    if not processes.alive(run.pid, run.start_time, run.boot_id):
        if descriptor >= 0:
            os.close(descriptor)
        return False
    if descriptor < 0:
        _poll(loop, run, call)
        return True

    def gone(_: int) -> None:
        loop.forget(descriptor)
        os.close(descriptor)
        call()

    loop.watch(descriptor, gone)
    return True


def _poll(loop: Loop, run: Run, call: Callable[[], None]) -> None:
    if processes.alive(run.pid, run.start_time, run.boot_id):
        loop.after(_POLL_S, lambda: _poll(loop, run, call))
    else:
        call()


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
