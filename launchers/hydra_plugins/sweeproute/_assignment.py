"""Describes jobs on their way: where they come from, where each is to start."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ._admission import JobClass
from ._policy import Decision
from ._shared_fit import Group


@dataclass(slots=True)
class Job:
    """A trial on its way to a platform.

    Attributes:
        num: its number in the sweep.
        overrides: as requested.
        job_class: what the policy reads of it.
        queued_at: when it was queued; the scheduler does not read it.
        group: the points that it may answer for beside its own; the scheduler does not read it.
        follow_up: whether the results of the others called for it; the scheduler does not read it.
    """

    num: int
    overrides: tuple[str, ...]
    job_class: JobClass
    queued_at: float = 0.0
    group: Group | None = None
    follow_up: bool = False


class Source(Protocol):
    """Where jobs come from: a sweeper that is asked, or a list."""

    def waiting(self) -> Mapping[JobClass, int]:
        """How many jobs there are to take now, by class, none without one; equal priorities keep this order."""
        ...

    def take(self, job_class: JobClass) -> Job:
        """The next job of a class that `waiting` has just named."""
        ...

    def closed(self) -> bool:
        """Whether no further job will come than those in `waiting`."""
        ...

    def ahead(self, slots: int) -> int | None:
        """How many jobs may wait on a platform of so many slots that has a queue of its own; None for all."""
        ...


@dataclass(frozen=True, slots=True)
class Assignment:
    """A job to be started now, or to be sent to a platform that has a queue of its own.

    Attributes:
        job: the job.
        platform: where.
        slot: which of the platform's slots, counted from 0; None on a platform with a queue of its own.
        attempt: 1 for the first; no two attempts of a job that began have the same number.
        decision: why there.
        recall: the platform on which the job waits: it is to be withdrawn from there first. It keeps its attempt's
            number, which has not begun; see Scheduler.recalled.
        copy_of: the platform on which another attempt at the job lives; the first result counts.
    """

    job: Job
    platform: str
    slot: int | None
    attempt: int
    decision: Decision
    recall: str | None = None
    copy_of: str | None = None
