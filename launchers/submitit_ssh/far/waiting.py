"""The jobs that wait on a far machine, in the order in which they start."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from .records import Job, Records, reordered


class Waiting:
    """A queue whose order is kept, so that another supervisor finds it.

    Args:
        records: Where it is kept.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        # Orders, by the ids in them that have not come yet.
        self._expected: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def head(self) -> Job:
        """The job that starts next."""
        return next(iter(self._jobs.values()))

    def add(self, job: Job) -> None:
        """Put a job at its end, or where an order that has come before the job wants it."""
        self._jobs[job.id] = job
        order = self._expected.pop(job.id, None)
        if order is not None:
            self.order(order)

    def add_again(self, job: Job, *, first: bool) -> None:
        """Put a job that has left at its end, or at its head."""
        self._jobs[job.id] = job
        self._jobs.move_to_end(job.id, last=not first)
        self._keep()

    def drop(self, job: Job) -> None:
        """Take a job out, if it is there."""
        self._jobs.pop(job.id, None)

    def order(self, identifiers: list[str], expected: Iterable[str] = ()) -> None:
        """Give jobs a new order among themselves, at the places that they hold together.

        Args:
            identifiers: Their ids; those of others mean nothing.
            expected: Which of them belong to jobs that are still on their way, and take their places as they come.
        """
        self._expected |= dict.fromkeys(expected, identifiers)
        self._jobs = OrderedDict((job.id, job) for job in reordered(list(self._jobs.values()), identifiers))
        self._keep()

    def _keep(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: it is lost with this supervisor
            self._records.put_order(list(self._jobs))
