"""Says how far a sweep is, from its folder alone: whether it runs or its coordinator is dead."""

import fcntl
import os
import socket
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeproute.pointers import Pointer
from sweeproute.sweep_folder import SweepFolder, launch_record, own, sweep_record

# From the words of the records to those that a person counts in; a job that runs under no coordinator has stopped.
_WORDS = {
    "FINISHED": "done",
    "PRUNED": "pruned",
    "FAILED": "failed",
    "LOST": "failed",
    "KILLED": "stopped",
    "QUEUED": "queued",
}


@dataclass(frozen=True)
class JobProgress:
    """Where one job is."""

    # Its number; None where another launcher did not number it.
    job: int | None
    # done, pruned, failed, stopped, queued (in the queue of its platform) or running.
    state: str
    platform: str
    overrides: tuple[str, ...]
    # Seconds since 1970; None where it is not known.
    started_at: float | None
    # Seconds that it ran; None before its end.
    run_s: float | None


@dataclass(frozen=True)
class Progress:
    """Where one sweep is."""

    id: str
    name: str | None
    folder: Path
    # running, stopped (what is left can be resumed), failed, finished, or gone (its folder is not there).
    state: str
    # The coordinator's process and machine; None where none is known.
    pid: int | None
    host: str | None
    # Seconds since 1970.
    started: float
    ended: float | None
    # None while it is not known.
    total: int | None
    jobs: tuple[JobProgress, ...]

    def count(self, state: str, platform: str | None = None) -> int:
        """How many jobs are in a state, everywhere or on one platform."""
        return sum(job.state == state and platform in (None, job.platform) for job in self.jobs)

    @property
    def waiting(self) -> int:
        """Jobs that no platform has been given yet."""
        return max(0, (self.total or 0) - len(self.jobs))

    @property
    def platforms(self) -> list[str]:
        """The platforms that have been given jobs."""
        return sorted({job.platform for job in self.jobs})

    def left_s(self, now: float) -> float | None:
        """Seconds to the end at the pace so far; None where nothing runs, or nothing has ended yet."""
        ran = [job.run_s for job in self.jobs if job.state in ("done", "pruned") and job.run_s is not None]
        running = [job for job in self.jobs if job.state == "running"]
        if self.state != "running" or not running or not ran:
            return None
        mean_s = statistics.fmean(ran)
        still_s = sum(max(0.0, mean_s - (now - job.started_at)) for job in running if job.started_at is not None)
        return (still_s + mean_s * (self.waiting + self.count("queued"))) / len(running)


def progress(pointer: Pointer, living: bool | None = None) -> Progress:
    """Look at a sweep.

    Args:
        pointer: Where it lies.
        living: Whether its coordinator lives, where somebody has looked; found out here when None.

    Returns:
        How far it is now.
    """
    record = sweep_record(pointer.folder)
    if record is None or record.get("id") != pointer.id:
        # Removed, or another sweep has its folder by now.
        return Progress(pointer.id, pointer.name, pointer.folder, "gone", None, None, pointer.started, None, None, ())
    state = _state(record, is_running(pointer.folder, record) if living is None else living)
    return Progress(
        id=pointer.id,
        name=record.get("name"),
        folder=pointer.folder,
        state=state,
        pid=record.get("pid"),
        host=record.get("host"),
        started=float(record.get("started") or pointer.started),
        ended=record.get("ended"),
        total=record.get("total"),
        jobs=tuple(_jobs(pointer.folder, state == "running")),
    )


def is_running(folder: Path, record: dict[str, Any] | None) -> bool:
    """Whether a coordinator has a sweep now; one on another machine is believed.

    Args:
        folder: The sweep's folder.
        record: The sweep's record.
    """
    if record is None or record.get("state") != "RUNNING":
        return False
    if record.get("host") not in (None, socket.gethostname()):
        return True
    try:
        descriptor = os.open(own(folder, "lock"), os.O_RDONLY)
    except OSError:
        return False
    try:
        # The coordinator's own lock, which the kernel takes from it however it dies; shared, and given back at once.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _state(record: dict[str, Any], living: bool) -> str:
    if living and record.get("state") == "RUNNING":
        return "running"
    return {"FINISHED": "finished", "FAILED": "failed"}.get(str(record.get("state")), "stopped")


def _jobs(folder: Path, runs: bool) -> Iterable[JobProgress]:
    for outcome in SweepFolder(folder).outcomes():
        launch = launch_record(outcome.attempt.folder) or {}
        # What was sent to another machine outlives the coordinator; what ran here died with it.
        running = "running" if runs or launch.get("far") else "stopped"
        yield JobProgress(
            job=outcome.attempt.job,
            state=_WORDS.get(outcome.state, running),
            platform=outcome.platform or "none",
            overrides=outcome.overrides,
            started_at=launch.get("started_at"),
            run_s=launch.get("run_s"),
        )


def clock(seconds: float, now: float | None = None) -> str:
    """A time of day, with the day where it is another one.

    Args:
        seconds: Since 1970.
        now: The present, in the same seconds.
    """
    then, today = time.localtime(seconds), time.localtime(now)
    return time.strftime("%H:%M:%S" if then[:3] == today[:3] else "%Y-%m-%d %H:%M", then)


def counted(number: int, noun: str = "job") -> str:
    """A number of things, as in "1 job" or "4 jobs"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
