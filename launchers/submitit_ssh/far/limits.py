"""Measures the memory of running jobs, and finds those that are over their limit."""

from __future__ import annotations

import time
from collections.abc import Sequence

from . import processes, resources
from .records import Job

# Seconds between measurements of a job that has no limit, and how many times as long as one takes they are apart.
_EVERY_S = 2.0
_SHARE = 100


def over_memory(running: Sequence[Job]) -> list[tuple[Job, str]]:
    """Measure the jobs that are due.

    Args:
        running: Jobs that run.

    Returns:
        Those that use more than they may, each with what it used as a clause.
    """
    due = [job for job in running if job.run is not None and job.measure_at <= time.monotonic()]
    if not due:
        return []
    groups = processes.groups()
    over = []
    for job in sorted(due, key=lambda job: job.measure_at):
        assert job.run is not None
        pids, limit = groups.get(job.run.pid, []), job.memory_limit_gb
        upper = resources.upper_memory_gb(pids)
        if limit is not None and upper <= limit:
            job.memory_used_gb = upper
            continue
        before = time.monotonic()
        job.memory_used_gb = resources.private_memory_gb(pids)
        now = time.monotonic()
        # The kernel walks every page, which large jobs have many of.
        job.measure_at = now + max(0.0 if limit is not None else _EVERY_S, _SHARE * (now - before))
        if limit is not None and job.memory_used_gb > limit:
            over.append((job, f"it used {job.memory_used_gb:.2f} GB of memory, and {limit:g} GB are its limit"))
    return over
