"""Tells running jobs that the rest of them is not needed, with a word that outlives whoever has said it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from . import processes
from .job_folder import write
from .loop import Loop
from .records import Job, Records

# Class of the end of a job that was told to stop, and left no result.
PRUNED = "pruned"
# Seconds from the word to the end by force, where nobody says.
GRACE_S = 1.0
# The word, in a job's folder, where its owner keeps it, and in its output folder, where the job looks.
_NAME = "stop"


class Stopping:
    """The word to jobs that are to end early.

    Args:
        records: Where their files are.
        loop: Tells when their time is over.
        kill: Called with a job, the class and the message of its end, and the seconds that it has from SIGTERM on.
    """

    def __init__(self, records: Records, loop: Loop, kill: Callable[[Job, str, str, float], None]) -> None:
        self._records = records
        self._loop = loop
        self._kill = kill

    def tell(self, job: Job, reason: str, grace_s: float) -> None:
        """Leave the word for a job, and kill it should it go on for longer than a grace."""
        folder = self._records.folder(job.id)
        for place in (folder / _NAME, folder / "out" / _NAME):
            with contextlib.suppress(OSError):  # a full disk: its end by force must do
                write(place, f"{reason}\n")
        self._end(job, reason, grace_s)

    def remind(self, job: Job) -> None:
        """Kill in a while what an earlier supervisor has told to stop."""
        reason = processes.read(str(self._records.folder(job.id) / _NAME)).decode(errors="replace").strip()
        if reason:
            self._end(job, reason, GRACE_S)

    def _end(self, job: Job, reason: str, grace_s: float) -> None:
        self._loop.after(grace_s, lambda: self._kill(job, PRUNED, reason, 0.0))
