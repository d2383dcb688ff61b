"""Holds the points of a sweep that wait, by class, and the returns of those that have run."""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from hydra.core.utils import JobReturn

from ._assignment import Job, Source
from ._durations import Durations, LongestFirst
from ._policy import JobClass
from ._prefix import Prefix
from ._shared_fit import Group


class JobSource(Source, Protocol):
    """Where the jobs of a sweep come from, and where their returns go.

    Attributes:
        overrides: Each job's overrides, by job number; more may come.
        returns: The return of each job that has ended, by job number.
        prunes: Whether something is to be heard of jobs while they run, by `reported`.
        busy: Whether that has to wait, since the next jobs are being looked for.
    """

    overrides: dict[int, tuple[str, ...]]
    returns: dict[int, JobReturn]
    prunes: bool

    @property
    def busy(self) -> bool: ...

    def open(
        self,
        queued_at: float,
        durations: Durations,
        stratum: Callable[[tuple[str, ...]], Hashable],
        job_class: Callable[[int, tuple[str, ...]], JobClass],
    ) -> None:
        """Sort what waits; called by the launcher, which knows how a point is composed.

        Args:
            queued_at: Seconds since the epoch, for the jobs' records.
            durations: What is known of how long points run.
            stratum: From overrides to all in them that decides about their class.
            job_class: From a job's number and overrides to its class.
        """
        ...

    def prepare(self) -> bool:
        """Have the next jobs ready; called when no slot waits for one.

        Returns:
            Whether there are new ones.
        """
        ...

    def wait_s(self) -> float:
        """Seconds after which it is worth preparing again although nothing has happened; infinite for not before."""
        ...

    def waiting_s(self, job_class: JobClass) -> float | None:
        """Expected seconds of all jobs of a class, one after the other; None where nothing is known."""
        ...

    def behind(self) -> Mapping[JobClass, int]:
        """How many jobs wait for another that may answer for them, too, by class."""
        ...

    def withdraw(self, number: int) -> Job:
        """Take one job out of turn: an earlier coordinator has begun it.

        Args:
            number: Its number; it waits here.

        Returns:
            The job.
        """
        ...

    def total(self) -> int | None:
        """How many jobs the sweep has, those included that have ended before; None where that is not known yet."""
        ...

    def reported(self, number: int, step: int, metrics: Mapping[str, float]) -> str | None:
        """Take what a running job has reported, each of its steps once.

        Args:
            number: The job's.
            step: Counts upwards within the job.
            metrics: Numbers by their names; one alone is called `value`.

        Returns:
            Why the rest of the job is not needed; None where it is.
        """
        ...

    def told(self, number: int, returned: JobReturn) -> None:
        """Take a job's return."""
        ...


class Points:
    """A fixed list of points: what a grid is, and what another sweeper's batch is.

    Points that agree in whatever the policy reads form a stratum: one of them is composed to learn the class of all.

    Args:
        overrides: Each job's overrides, by job number.
        fields: What rules match on beside what is read of a job's config, by job number.
        prefix: Finds points that one fit serves: of these only the job with the longest is handed out, and the others
            wait for it. Those that it does not answer for are then handed out, too. None where there are none.
        follow_up: Whether the results of a sweep called for them.

    Attributes:
        overrides: As given.
        returns: The return of each job that has ended, by job number.
    """

    def __init__(
        self,
        overrides: Mapping[int, tuple[str, ...]],
        fields: Mapping[int, Mapping[str, Any]] | None = None,
        prefix: Prefix | None = None,
        *,
        follow_up: bool = False,
    ) -> None:
        self.overrides = dict(overrides)
        self._fields = fields or {}
        self._prefix = prefix
        self._follow_up = follow_up
        self._groups: dict[int, Group] = {}  # by the number of the job that may answer, until that has ended
        self._behind: set[int] = set()
        self.returns: dict[int, JobReturn] = {}
        self.prunes = self.busy = False
        self._queues: dict[JobClass, LongestFirst[int]] = {}
        self._classes: dict[int, JobClass] = {}
        self._queued_at = 0.0

    def open(
        self,
        queued_at: float,
        durations: Durations,
        stratum: Callable[[tuple[str, ...]], Hashable],
        job_class: Callable[[int, tuple[str, ...]], JobClass],
    ) -> None:
        """See JobSource."""
        self._queued_at = queued_at
        if self._prefix is not None:
            open_points = {number: one for number, one in self.overrides.items() if number not in self.returns}
            self._groups = self._prefix.groups(open_points, self._fields)
            self._behind = {one.number for group in self._groups.values() for one in group.followers}
        classes: dict[Hashable, JobClass] = {}
        for number, overrides in self.overrides.items():
            if number in self.returns:
                continue
            more = tuple(self._fields.get(number, {}).items())
            key = (stratum(overrides), more)
            if key not in classes:
                found = job_class(number, overrides)
                classes[key] = replace(found, fields=(*found.fields, *more)) if more else found
            of_class = self._classes[number] = classes[key]
            if of_class not in self._queues:
                model = dict(of_class.fields).get("model_type")
                self._queues[of_class] = LongestFirst(durations, partial(self._expected_s, durations, model))
            if number not in self._behind:
                self._queues[of_class].add(number)

    def _expected_s(self, durations: Durations, model: str | None, number: int) -> float | None:
        return durations.expected(self.overrides[number], model)

    def waiting(self) -> Mapping[JobClass, int]:
        """See Source."""
        return {job_class: len(queue) for job_class, queue in self._queues.items() if len(queue)}

    def waiting_s(self, job_class: JobClass) -> float | None:
        """See JobSource."""
        return self._queues[job_class].total_s()

    def take(self, job_class: JobClass) -> Job:
        """See Source."""
        return self._job(self._queues[job_class].pop())

    def behind(self) -> Mapping[JobClass, int]:
        """See JobSource."""
        return Counter(self._classes[number] for number in self._behind)

    def withdraw(self, number: int) -> Job:
        """See JobSource."""
        if number in self._behind:
            self._behind.remove(number)
        else:
            self._queues[self._classes[number]].remove(number)
        return self._job(number)

    def _job(self, number: int) -> Job:
        group = self._groups.get(number)
        if group is not None:
            followers = tuple(one for one in group.followers if one.number in self._behind)
            group = replace(group, followers=followers) if followers else None
        return Job(number, self.overrides[number], self._classes[number], self._queued_at, group, self._follow_up)

    def prepare(self) -> bool:
        """See JobSource."""
        return False

    def wait_s(self) -> float:
        """See JobSource."""
        return float("inf")

    def closed(self) -> bool:
        """See Source."""
        return not self._behind

    def ahead(self, slots: int) -> int | None:  # noqa: ARG002
        """See Source."""
        return None

    def total(self) -> int | None:
        """See JobSource."""
        return len(self.overrides)

    def reported(self, number: int, step: int, metrics: Mapping[str, float]) -> str | None:  # noqa: ARG002
        """See JobSource."""
        return None

    def told(self, number: int, returned: JobReturn) -> None:
        """See JobSource."""
        self.returns[number] = returned
        self._behind.discard(number)
        group = self._groups.pop(number, None)
        for follower in group.followers if group is not None else ():
            if follower.number in self._behind:  # not answered for
                self._behind.remove(follower.number)
                self._queues[self._classes[follower.number]].add(follower.number)
