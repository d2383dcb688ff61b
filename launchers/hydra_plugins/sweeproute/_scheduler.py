"""Says which job runs next where, for the live dispatcher as for the simulator."""

from collections.abc import Callable, Iterable, Mapping
from random import Random

from ._admission import JobClass, PlatformState
from ._assignment import Assignment, Job, Source
from ._attempts import Attempts
from ._board import Board
from ._condition import Condition
from ._durations import Durations, Load
from ._occupancy import Counts
from ._outlook import counts, loads
from ._placement import Placed, Placement
from ._policy import Decision, Policy
from ._retry import Backoff, Outcome, RetryQueue, RetryRules, Verdict
from ._stragglers import Stragglers


class Scheduler:
    """Fills free slots from a source, and says what becomes of a job that failed.

    It reads no clock: `now` is whatever seconds the caller counts, never running backwards.

    A platform with a queue of its own (`PlatformState.ahead`) gets the jobs that belong to it as soon as the caller
    asks for `sends`, and starts them itself. Until it does, another platform with room may take them. A job that runs
    slowly may be started on a faster platform for which nothing waits, so that several attempts live; the first result
    counts.

    Args:
        policy: decides where.
        platforms: each as it is at the start, nothing running.
        source: where jobs come from.
        durations: what is known of how long jobs run; it may learn on the way.
        restart_slow: whether to start slow jobs again; never where jobs may not leave their platform (`overflow`).
        rng: for the jitter of the backoff.
        max_attempts, backoff, retry_user_errors: see RetryRules.
    """

    def __init__(
        self,
        policy: Policy,
        platforms: Iterable[PlatformState],
        source: Source,
        *,
        rng: Random,
        durations: Durations | None = None,
        restart_slow: bool = True,
        max_attempts: int = 3,
        backoff: Backoff | None = None,
        retry_user_errors: bool = False,
    ) -> None:
        self._policy = policy
        self._source = source
        durations = durations or Durations()
        self._board = Board(policy, platforms, durations)
        self._placement = Placement(policy, self._board)
        self._retry_rules = RetryRules(rng, max_attempts, backoff or Backoff(), retry_user_errors)
        self._retries = RetryQueue[Job]()
        self._attempts = Attempts(self._board, self._placement.gained)
        self._stragglers = Stragglers(self._board, self._attempts, durations)
        self._restart_slow = restart_slow and policy.overflow != "never"

    def assign(self, now: float) -> list[Assignment]:
        """Fill every free slot that can be filled.

        Args:
            now: seconds.

        Returns:
            What to start, in the order of decision. One with `recall` holds its slot until `recalled` is called.
        """
        if self._board.learn():
            self._placement.review(now)
            self._attempts.disorder()
        self._placement.review_old(now)
        assignments = []
        while self._board.open:
            waiting = self._source.waiting()
            due = self._retries.due(now)
            if due:
                waiting = {**dict.fromkeys(due, 1), **waiting}  # tried again before its equals
            if not waiting and not self._source.closed():
                break  # the next is about to be there: until then platforms would look as if no more were to come
            self._board.refresh(waiting, self._attempts.movable, now)
            placed = self._placement.next(waiting, self._attempts.movable, now)
            if placed is not None:
                assignments.append(self._begin(placed, now))
                continue
            again = None if waiting or not self._restart_slow else self._restart(now)
            if again is None:
                break
            assignments.append(again)
        return assignments

    def sends(self, now: float, limit: int) -> list[Assignment]:
        """Send what belongs to platforms that have a queue of their own, whatever runs there.

        Args:
            now: seconds.
            limit: how many at most.

        Returns:
            What to send, in order of urgency, then in the source's. Call `assign` before: it takes what may start at
            once elsewhere.
        """
        assignments: list[Assignment] = []
        if not self._board.ahead:
            return assignments
        due = self._retries.due(now)
        waiting = {**dict.fromkeys(due, 0), **self._source.waiting()}
        for job_class in due:
            waiting[job_class] += 1
        for job_class in sorted(waiting, key=lambda waits: -waits.priority):
            home = self._board.home(job_class)
            place = None if home.platform is None else self._board.places[home.platform]
            if place is None or not place.spec.ahead or place.condition is not Condition.AVAILABLE:
                continue
            decision = Decision(home.status, home.platform, home.reason)
            room = limit - len(assignments)
            ahead = self._source.ahead(place.spec.slots)
            if ahead is not None:
                room = min(room, place.spec.slots + ahead - len(place.running) - place.queued)
            for _ in range(min(waiting[job_class], room)):
                if not (job_class in self._source.waiting() or job_class in self._retries.due(now)):
                    break  # what is still to come is counted, and not there yet
                assignments.append(self._begin(Placed(job_class, place.spec.name, decision), now))
        return assignments

    def reordered(self, platform: str) -> list[Job] | None:
        """The order in which a platform is to start what waits in its own queue: by urgency, then the longest first.

        Args:
            platform: its name.

        Returns:
            The jobs; None where they wait there in this order already.
        """
        return self._attempts.reorder(platform)

    def started(self, job: Job, platform: str, now: float) -> None:
        """Note that a platform has started a job out of its own queue.

        Args:
            job: the job.
            platform: its platform.
            now: when it started, in seconds; it may lie in the past.
        """
        life = self._attempts.by_job.get(job.num)
        if life is not None:
            self._attempts.started(life, platform, now)

    def recalled(self, assignment: Assignment, ok: bool | None, now: float) -> Assignment | None:
        """Take the answer to a recall.

        Args:
            assignment: one with `recall`.
            ok: True: the job is withdrawn, and will never start there; False: it has started there, or ended; None:
                nobody answered.
            now: seconds.

        Returns:
            What to start now: the assignment itself, in the slot that it holds. None when the job stays where it is,
            or has ended meanwhile: the slot is free again.
        """
        source = assignment.recall
        assert source is not None
        life = self._attempts.by_job.get(assignment.job.num)
        waits = life.live.get(source) if life is not None else None
        if life is None or waits is None or waits.number != assignment.attempt:
            return None
        if life.moving is not None and life.moving[0] is assignment:
            if ok:
                self._attempts.moved(life, now)
                return assignment
            self._attempts.stay(life)
        if ok:  # the assignment is off the books, yet the job has left
            self.withdrawn(assignment.job, source, now)
        elif ok is False:
            self._attempts.started(life, source, now)
        return None

    def finished(self, job: Job, platform: str, slot: int | None, outcome: Outcome, now: float) -> Verdict:
        """Take the end of an attempt; its slot is free again.

        Args:
            job: the job of the assignment.
            platform: its platform.
            slot: its slot; None on a platform with a queue of its own.
            outcome: how it ended; of the class lost when it is known to be dead, or was silent for too long.
            now: seconds.

        Returns:
            Whether the outcome is the job's. If not, the job waits here for its next attempt, unless another one lives.
            What comes late, about an attempt that is off the books, is not final.
        """
        life = self._attempts.by_job.get(job.num)
        if life is None or platform not in life.live or slot not in (None, life.live[platform].slot):
            return Verdict(final=False, reason="the job went on without this attempt")
        attempt = self._attempts.drop(life, platform)
        place = self._board.places[platform]
        if outcome.status != "FAILED":
            if outcome.status == "FINISHED":
                place.done += 1
            else:
                place.pruned += 1
            return Verdict(final=True, also=self._attempts.end(life))
        if outcome.error_class == "precheck":
            self.set_condition(platform, Condition.DOWN, outcome.message, now)
        if life.live and not self._retry_rules.final(outcome):
            self._retry_rules.count(outcome, platform, life.failures)
            return Verdict(final=False, reason="another attempt goes on")
        again = self._retry_rules.next_try(
            outcome,
            attempt.job_class,
            platform,
            life.failures,
            {name: other.spec.memory_gb for name, other in self._board.places.items()},
            lambda job_class: self._board.home(job_class).platform is not None,
        )
        if again.job_class is None:
            place.failed += 1
            return Verdict(final=True, reason=again.reason, also=self._attempts.end(life))
        self._retries.add(now + again.delay_s, job, again.job_class)
        return Verdict(final=False, retry_at=now + again.delay_s, reason=again.reason)

    def withdrawn(self, job: Job, platform: str, now: float) -> None:
        """Note that a job which was sent to a platform will never start there; it costs the job no attempt.

        Args:
            job: the job.
            platform: the platform, which does not know it, or has let go of it.
            now: seconds.
        """
        life = self._attempts.by_job.get(job.num)
        if life is not None and platform in life.live:
            attempt = self._attempts.drop(life, platform)
            if not life.live:
                self._retries.add(now, job, attempt.job_class)

    def adopt(self, job: Job, platform: str, attempt: int, started: bool, now: float) -> None:
        """Take over an attempt that an earlier coordinator began.

        Args:
            job: the job, which is no longer in the source.
            platform: where the attempt is: one with a queue of its own.
            attempt: its number.
            started: whether it runs; it waits there otherwise.
            now: when it started, or the present, in seconds.
        """
        self._attempts.adopt(self._attempts.of(job), platform, attempt, started, now)

    def set_condition(self, platform: str, condition: Condition, why: str, now: float) -> None:
        """Note a platform's condition; what runs there is reported by `finished` as ever.

        Suspect: its jobs wait for it. Down, probing, paused: they fall back, and other platforms take what lies in its
        own queue as they have room: withdrawn from there when it is paused, started beside it when it cannot be asked.
        When it is available again, what still lies there is its own as before.

        Args:
            platform: its name.
            condition: the condition.
            why: why it takes nothing, as a clause that follows its name; empty when it does.
            now: seconds.

        Raises:
            ForbiddenTransitionError: the condition cannot follow the present one.
        """
        self._board.move(platform, condition, why)
        self._attempts.stay_all(platform, condition)
        self._placement.review(now)

    def set_held(self, platform: str, why: str, now: float) -> None:
        """Note what a platform's own queue waits for although slots are free there, such as memory that others use.

        Its jobs wait or overflow as if it were full.

        Args:
            platform: its name.
            why: as a clause that follows its name; empty when it waits for nothing.
            now: seconds.
        """
        place = self._board.places[platform]
        if place.held != why:
            place.hold(why, now)
            self._board.touch(platform)
            self._placement.review(now)

    def set_memory(self, platform: str, free_gb: float) -> None:
        """Note the main memory in GB that was measured free on a platform just now."""
        place = self._board.places[platform]
        before = place.memory_free_gb()
        place.measure(free_gb)
        self._board.outdated([platform])
        if place.memory_free_gb() > before:
            self._placement.gained(platform)

    def next_wakeup(self, now: float) -> float | None:
        """When `assign` is worth calling again although nothing has happened; None for not before an event."""
        times = [self._placement.review_at(), self._stragglers.review_at(now), self._retries.next_at(now)]
        return min([at for at in times if at is not None], default=None)

    def done(self) -> bool:
        """Whether every job has ended and none will come."""
        return not self._attempts.by_job and self._source.closed() and not self._source.waiting()

    def counts(self, behind: Mapping[JobClass, int] | None = None) -> dict[str, Counts]:
        """Jobs by platform.

        Args:
            behind: Jobs that are in no queue, since another may answer for them, by class; None for none.
        """
        waiting = self._waiting()
        for job_class, number in (behind or {}).items():
            waiting[job_class] = waiting.get(job_class, 0) + number
        return counts(self._board, waiting, self._attempts.movable)

    def answered(self, platform: str, number: int) -> None:
        """Note that so many jobs are done that were never handed out, since one on this platform answered for them."""
        self._board.places[platform].done += number

    def loads(
        self,
        now: float,
        waiting_s: Callable[[JobClass], float | None],
        run_s: Callable[[Job, str], float | None],
    ) -> dict[str, Load]:
        """What each platform has before it, for the time left.

        Args:
            now: seconds.
            waiting_s: from a class to the expected seconds of all its jobs that wait in the source.
            run_s: from a job and a platform to the expected seconds of the job there.

        Returns:
            The load of each platform.
        """
        return loads(self._board, self._source, self._retries, self._attempts.movable, now, waiting_s, run_s)

    def stranded(self) -> dict[JobClass, Decision]:
        """Classes with waiting jobs that no platform takes as things stand, and why; see `give_up`."""
        homes = {job_class: self._board.home(job_class) for job_class in self._waiting()}
        return {waits: Decision("queued", None, home.reason) for waits, home in homes.items() if home.platform is None}

    def give_up(self, job_class: JobClass) -> Job:
        """Take a waiting job out, as failed on the platform that it was meant for.

        Args:
            job_class: a class that `stranded` names; call once for each of its jobs, until it no longer does.

        Returns:
            The job.
        """
        job = self._take(job_class, now=float("inf"))
        self._attempts.by_job.pop(job.num, None)  # if it was tried before
        self._placement.anew()
        meant_for = self._board.places.get(self._policy.target(job_class)[0])
        if meant_for is not None:
            meant_for.failed += 1
        return job

    def _take(self, job_class: JobClass, now: float) -> Job:
        return self._retries.take(job_class, now) or self._source.take(job_class)

    def _waiting(self) -> dict[JobClass, int]:
        """Jobs that wait here, by class, those included whose next attempt is not due yet."""
        waiting = dict(self._source.waiting())
        for _, job_class in self._retries:
            waiting[job_class] = waiting.get(job_class, 0) + 1
        return waiting

    def _restart(self, now: float) -> Assignment | None:
        """Start a slow job again where it is expected to finish first."""
        found = self._stragglers.take(now)
        if found is None:
            return None
        found.life.restarted = True
        decision = Decision("scheduled", found.fast, f"restarted on {found.fast}, which is expected to finish first")
        return self._attempts.begin(found.life, found.job_class, found.fast, decision, now, copy_of=found.slow)

    def _begin(self, placed: Placed, now: float) -> Assignment:
        job_class, platform, decision = placed.job_class, placed.platform, placed.decision
        if placed.taken_from is not None:
            assignment = self._attempts.take(job_class, placed.taken_from, platform, decision, now)
        else:
            life = self._attempts.of(self._take(job_class, now))
            assignment = self._attempts.begin(life, job_class, platform, decision, now)
        home = self._board.home(job_class).platform
        if home is not None and home != platform:
            self._board.outdated([home])  # its backlog is shorter
        return assignment
