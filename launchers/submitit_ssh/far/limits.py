"""Measures the memory of running jobs, and finds those that are over their limit."""

from __future__ import annotations

import time
from collections.abc import Sequence

from . import processes, resources
from .records import Job


def over_memory(running: Sequence[Job]) -> list[tuple[Job, str]]:
    """The jobs that use more than they may, each with what it used; of one of the others the use is noted.

    Args:
        running: Jobs that run.
    """
    if not running:
        return []
    groups = processes.groups()
    over = []
    for job in running:
        pids, limit = _processes(job, groups), job.memory_limit_gb
        if limit is not None and resources.upper_memory_gb(pids) > limit:
            job.memory_used_gb = resources.private_memory_gb(pids)
            if job.memory_used_gb > limit:
                over.append((job, f"it used {job.memory_used_gb:.2f} GB of memory, and {limit:g} GB are its limit"))
    # Exactly, and therefore only one at a time: the kernel walks its pages.
    job = min(running, key=lambda job: job.measured)
    job.measured = time.monotonic()
    job.memory_used_gb = resources.private_memory_gb(_processes(job, groups))
    return over


def _processes(job: Job, groups: dict[int, list[int]]) -> list[int]:
    return groups.get(job.run.pid, []) if job.run is not None else []
