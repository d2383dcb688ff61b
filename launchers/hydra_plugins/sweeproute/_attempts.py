"""Keeps the attempts at each job that live at the same time."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from ._admission import JobClass
from ._assignment import Assignment, Job
from ._board import Board
from ._condition import UNREACHABLE, Condition
from ._policy import Decision

# Seconds within which a job is about to start: a recall, and what is expected of the jobs before it, may be late.
TURN_S = 10.0


@dataclass(slots=True)
class Attempt:
    """One live try at a job.

    Attributes:
        platform: where.
        number: counted from 1 within the job.
        job_class: the job's class in it.
        slot: the slot of `Occupancy`; None while it waits in the platform's own queue.
    """

    platform: str
    number: int
    job_class: JobClass
    slot: int | None


@dataclass(slots=True)
class Life:
    """What a job has gone through so far.

    Attributes:
        job: the job.
        number: of its last attempt.
        failures: those that count, by platform.
        live: its live attempts, by platform.
        restarted: whether it was started beside an attempt that was slow.
        moving: what was assigned under the condition that the job can be withdrawn from where it waits.
    """

    job: Job
    number: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    live: dict[str, Attempt] = field(default_factory=dict)
    restarted: bool = False
    moving: tuple[Assignment, Attempt] | None = None


class Attempts:
    """The jobs that have begun, and have not ended, in step with the platforms that they are on.

    Args:
        board: the platforms.
        gained: told when room has come to a platform.

    Attributes:
        by_job: by job number.
        begun: how many attempts there have been.
        movable: jobs that another platform may take, by the platform in whose queue they wait and by class, the one
            last whose turn comes last.
    """

    def __init__(self, board: Board, gained: Callable[[str], None]) -> None:
        self.by_job: dict[int, Life] = {}
        self.begun = 0
        self.movable: dict[str, dict[JobClass, dict[int, Job]]] = {}
        self._where: dict[int, Attempt] = {}
        self._queues: dict[str, dict[int, Job]] = {}  # the same jobs in the order of each platform's queue
        self._unordered: set[str] = set()
        self._board = board
        self._gained = gained

    def of(self, job: Job) -> Life:
        """The life of a job, begun here with its first attempt."""
        life = self.by_job.get(job.num)
        if life is None:
            life = self.by_job[job.num] = Life(job)
        return life

    def begin(
        self,
        life: Life,
        job_class: JobClass,
        platform: str,
        decision: Decision,
        now: float,
        copy_of: str | None = None,
    ) -> Assignment:
        """Give a platform a job: one that waits here, or a copy of one of which an attempt lives on another."""
        life.number += 1
        attempt = self._occupy(life.job, platform, life.number, job_class, now)
        self._enter(life, attempt)
        return Assignment(life.job, platform, attempt.slot, attempt.number, decision, None, copy_of)

    def take(self, job_class: JobClass, source: str, platform: str, decision: Decision, now: float) -> Assignment:
        """Give a platform a job of a class out of another's queue; beside that where nobody answers."""
        life = self.by_job[self._taken(job_class, source)]
        if self._board.places[source].condition in UNREACHABLE:
            return self.begin(life, job_class, platform, decision, now, copy_of=source)
        attempt = self._occupy(life.job, platform, life.live[source].number, job_class, now)
        assignment = Assignment(life.job, platform, attempt.slot, attempt.number, decision, recall=source)
        life.moving = (assignment, attempt)
        self._settle(life)
        return assignment

    def adopt(self, life: Life, platform: str, number: int, running: bool, now: float) -> None:
        """Note a live attempt that an earlier coordinator began."""
        life.number = max(life.number, number)
        self._enter(life, self._occupy(life.job, platform, number, life.job.job_class, now, running))

    def started(self, life: Life, platform: str, now: float) -> None:
        """Note that a platform has started a job out of its own queue."""
        attempt = life.live.get(platform)
        if attempt is None or attempt.slot is not None:
            return  # a late word about an attempt that is off the books
        place = self._board.places[platform]
        place.queued -= 1
        attempt.slot = place.start(life.job, attempt.job_class, now)
        self._board.touch(platform)
        self._stop_moving_from(life, platform)
        self._settle(life)

    def moved(self, life: Life, now: float) -> None:
        """Note that a job is withdrawn from where it waited: it starts where it was moved to."""
        assert life.moving is not None
        (assignment, attempt), life.moving = life.moving, None
        assert assignment.recall is not None
        self._leave(life.live.pop(assignment.recall))
        life.live[attempt.platform] = attempt
        if attempt.slot is not None:
            self._board.places[attempt.platform].running[attempt.slot].started = now
        self._settle(life)

    def stay(self, life: Life) -> None:
        """Let a job stay in the queue from which it was to be withdrawn."""
        if life.moving is not None:
            (_, attempt), life.moving = life.moving, None
            self._leave(attempt)
            self._settle(life)

    def stay_all(self, platform: str, condition: Condition) -> None:
        """Let jobs stay where they wait, as far as a platform's condition forbids to move them from it or to it."""
        for life in list(self.by_job.values()):
            if life.moving is not None:
                assignment = life.moving[0]
                unanswered = assignment.recall == platform and condition in UNREACHABLE
                if unanswered or (assignment.platform == platform and condition is not Condition.AVAILABLE):
                    self.stay(life)

    def drop(self, life: Life, platform: str) -> Attempt:
        """Take an attempt off the books."""
        attempt = life.live.pop(platform)
        self._leave(attempt)
        if life.live or attempt.slot is None:
            self._stop_moving_from(life, platform)
            self._settle(life)
        return attempt

    def disorder(self) -> None:
        """Note that expectations have changed."""
        self._unordered.update(self.movable)

    def reorder(self, platform: str) -> list[Job] | None:
        """Put the queue of a platform into order: the most urgent first, then the longest, as in LongestFirst.

        Returns:
            The jobs in their new order; None where it is the old one.
        """
        if platform not in self._unordered:
            return None
        self._unordered.discard(platform)

        def rank(job: Job) -> tuple[int, float]:
            seconds = self._board.job_s(job, platform)
            return -self._where[job.num].job_class.priority, -math.inf if seconds is None else -seconds

        old = list(self._queues.get(platform, {}).values())
        new = sorted(old, key=rank)
        if [job.num for job in new] == [job.num for job in old]:
            return None
        self._queues[platform] = {job.num: job for job in new}
        for job_class, jobs in self.movable[platform].items():
            self.movable[platform][job_class] = {job.num: job for job in new if job.num in jobs}
        return new

    def end(self, life: Life) -> tuple[tuple[str, int | None], ...]:
        """Take a job off the books.

        Returns:
            Platform and slot of what still lives of it, for the caller to end; see Verdict.
        """
        del self.by_job[life.job.num]
        if not life.live and life.moving is None:
            return ()
        self.stay(life)
        also = []
        for platform in list(life.live):
            attempt = self.drop(life, platform)
            own_queue = self._board.places[platform].spec.ahead
            also.append((platform, None if own_queue else attempt.slot))
        return tuple(also)

    def _taken(self, job_class: JobClass, source: str) -> int:
        """The number of the job that leaves a queue.

        It is the longest whose turn is not about to come, or it would have started before the recall arrives. It is the
        last where nothing is known, and where nobody answers: that queue is worked through from the other end.
        """
        jobs = self.movable[source][job_class]
        place, before_s = self._board.places[source], 0.0
        if place.condition not in UNREACHABLE:
            for job in jobs.values():
                seconds = self._board.job_s(job, source)
                if seconds is None:
                    break
                if before_s > TURN_S * place.spec.slots:
                    return job.num
                before_s += seconds
        return next(reversed(jobs))

    def _occupy(
        self, job: Job, platform: str, number: int, job_class: JobClass, now: float, running: bool = False
    ) -> Attempt:
        place = self._board.places[platform]
        slot = None
        if place.spec.ahead and not running:
            place.queued += 1
        else:
            slot = place.start(job, job_class, now)
        self._board.touch(platform)
        return Attempt(platform, number, job_class, slot)

    def _enter(self, life: Life, attempt: Attempt) -> None:
        life.live[attempt.platform] = attempt
        self.begun += 1
        if attempt.slot is None or len(life.live) > 1:
            self._settle(life)

    def _leave(self, attempt: Attempt) -> None:
        """Give back the room that an attempt has taken."""
        place = self._board.places[attempt.platform]
        if attempt.slot is None:
            place.queued -= 1
        else:
            place.end(attempt.slot)
        self._board.touch(attempt.platform)
        self._gained(attempt.platform)

    def _stop_moving_from(self, life: Life, platform: str) -> None:
        if life.moving is not None and life.moving[0].recall == platform:
            self.stay(life)

    def _settle(self, life: Life) -> None:
        """Note whether another platform may take a job: while it only waits in one queue, and is not moving."""
        num = life.job.num
        before = self._where.get(num)
        now: Attempt | None = None
        if len(life.live) == 1 and life.moving is None:
            (only,) = life.live.values()
            now = only if only.slot is None else None
        if before is now:
            return
        if before is not None:
            del self._where[num]
            del self._queues[before.platform][num]
            classes = self.movable[before.platform]
            del classes[before.job_class][num]
            if not classes[before.job_class]:
                del classes[before.job_class]
            if not classes:
                del self.movable[before.platform]
        if now is not None:
            self._where[num] = now
            self._queues.setdefault(now.platform, {})[num] = life.job
            self._unordered.add(now.platform)
            self.movable.setdefault(now.platform, {}).setdefault(now.job_class, {})[num] = life.job
