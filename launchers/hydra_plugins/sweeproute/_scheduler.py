"""Says which job runs next where, for the live dispatcher as for the simulator."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Protocol

from ._admission import JobClass, PlatformState, RoutingError
from ._durations import Load
from ._occupancy import Condition, Counts, Occupancy
from ._policy import Decision, Home, Policy
from ._retry import Backoff, Outcome, RetryQueue, RetryRules, Verdict

# Seconds after which every class that waits is decided anew: estimates of what is faster grow old without an event.
REVIEW_S = 10.0


@dataclass(slots=True)
class Job:
    """A trial on its way to a platform.

    Attributes:
        num: its number in the sweep.
        overrides: as requested.
        job_class: what the policy reads of it.
        queued_at: when it was queued; the scheduler does not read it.
    """

    num: int
    overrides: tuple[str, ...]
    job_class: JobClass
    queued_at: float = 0.0


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


@dataclass(frozen=True, slots=True)
class Assignment:
    """A job to be started now.

    Attributes:
        job: the job.
        platform: where.
        slot: which of the platform's slots, counted from 0.
        attempt: 1 for the first; no two attempts of a job have the same number.
        decision: why there.
    """

    job: Job
    platform: str
    slot: int
    attempt: int
    decision: Decision


@dataclass(slots=True)
class _Blocked:
    """A class that waits: its home, its decision, and how many of the gains of room it has seen."""

    home: Home
    decision: Decision
    gains_seen: int


@dataclass(slots=True)
class _Tries:
    """Attempts of a job: all that were handed out, and those that count against a platform."""

    number: int = 0
    failures: dict[str, int] = field(default_factory=dict)


class Scheduler:
    """Fills free slots from a source, and says what becomes of a job that failed.

    It reads no clock: `now` is whatever seconds the caller counts, never running backwards.

    Decisions are made per class. A class that cannot be placed is decided again when room has come to a platform, for
    that platform alone, and does not block the classes behind it; once these have taken as many places as its platform
    has slots, though, that platform is kept for it, so that a job that needs much memory, or the whole machine, does
    not wait for ever.

    Args:
        policy: decides where.
        platforms: each as it is at the start, nothing running.
        source: where jobs come from.
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
        max_attempts: int = 3,
        backoff: Backoff | None = None,
        retry_user_errors: bool = False,
    ) -> None:
        self._policy = policy
        self._platforms: dict[str, Occupancy[Job]] = {spec.name: Occupancy(spec) for spec in platforms}
        self._source = source
        self._retry_rules = RetryRules(rng, max_attempts, backoff or Backoff(), retry_user_errors)
        self._retries = RetryQueue[Job]()
        self._tries: dict[int, _Tries] = {}
        self._states = {name: platform.state(None) for name, platform in self._platforms.items()}
        self._stale = set(self._platforms)
        self._open = {name for name, platform in self._platforms.items() if platform.open()}
        self._homes: dict[JobClass, Home] = {}
        self._blocked: dict[JobClass, _Blocked] = {}
        self._gains: list[str] = []  # platforms to which room has come, in order
        self._overtaken: dict[JobClass, int] = {}
        self._reviewed_at = float("-inf")

    def assign(self, now: float) -> list[Assignment]:
        """Fill every free slot that can be filled.

        Args:
            now: seconds.

        Returns:
            What to start, in the order of decision.
        """
        if now - self._reviewed_at >= REVIEW_S:
            self._reviewed_at = now
            self._stale.update(waits.decision.platform for waits in self._blocked.values() if waits.decision.platform)
            self._decide_anew()
        assignments = []
        while self._open:
            assignment = self._next(now)
            if assignment is None:
                break
            assignments.append(assignment)
        return assignments

    def finished(self, job: Job, platform: str, slot: int, outcome: Outcome, now: float) -> Verdict:
        """Take the end of an attempt; its slot is free again.

        Args:
            job: the job of the assignment.
            platform: its platform.
            slot: its slot.
            outcome: how it ended.
            now: seconds.

        Returns:
            Whether this was the job's last attempt; if not, the job waits here for its next one.
        """
        place = self._platforms[platform]
        running = place.end(slot)
        self._freed(place)
        if outcome.status == "FINISHED":
            place.done += 1
            del self._tries[job.num]
            return Verdict(final=True)
        if outcome.error_class == "precheck":
            self.set_available(platform, False, outcome.message)
        again = self._retry_rules.next_try(
            outcome,
            running.job_class,
            platform,
            self._tries[job.num].failures,
            {name: other.spec.memory_gb for name, other in self._platforms.items()},
            lambda job_class: self._home(job_class).platform is not None,
        )
        if again.job_class is None:
            place.failed += 1
            del self._tries[job.num]
            return Verdict(final=True, reason=again.reason)
        self._retries.add(now + again.delay_s, job, again.job_class)
        return Verdict(final=False, retry_at=now + again.delay_s, reason=again.reason)

    def set_available(self, platform: str, available: bool, why: str = "") -> None:
        """Note that a platform takes jobs, or no longer does; what runs there is reported by `finished` as ever.

        Args:
            platform: its name.
            available: whether it takes jobs.
            why: why not, as a clause that follows its name; empty when it does.
        """
        place = self._platforms[platform]
        place.move(Condition.AVAILABLE if available else Condition.DOWN, why)
        self._states[platform] = place.state(None)
        self._homes.clear()
        self._decide_anew()
        self._freed(place)

    def set_memory(self, platform: str, free_gb: float) -> None:
        """Note the main memory in GB that was measured free on a platform just now."""
        place = self._platforms[platform]
        before = place.memory_free_gb()
        place.measure(free_gb)
        self._stale.add(platform)
        if place.memory_free_gb() > before:
            self._gains.append(platform)

    def next_wakeup(self, now: float) -> float | None:
        """When `assign` is worth calling again although nothing has happened; None for not before an event."""
        retry_at = self._retries.next_at(now)
        if not (self._blocked and self._open and self._policy.overflow == "when_faster"):
            return retry_at
        review_at = self._reviewed_at + REVIEW_S
        return review_at if retry_at is None else min(retry_at, review_at)

    def done(self) -> bool:
        """Whether every job has ended and none will come."""
        idle = not len(self._retries) and not any(place.running for place in self._platforms.values())
        return idle and self._source.closed() and not self._source.waiting()

    def counts(self) -> dict[str, Counts]:
        """Jobs by platform."""
        queued = dict.fromkeys(self._platforms, 0)
        for job_class, number in self._queued().items():
            home = self._home(job_class).platform
            if home is not None:
                queued[home] += number
        return {name: place.counts(queued[name]) for name, place in self._platforms.items()}

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
        waiting: dict[str, list[float | None]] = {name: [] for name in self._platforms}
        for job_class in self._source.waiting():
            home = self._home(job_class).platform
            if home is not None:
                waiting[home].append(waiting_s(job_class))
        for job, job_class in self._retries:
            home = self._home(job_class).platform
            if home is not None:
                waiting[home].append(run_s(job, home))
        loads = {}
        for name, place in self._platforms.items():
            running = [(run_s(entry.job, name), now - entry.started) for entry in place.running.values()]
            loads[name] = Load(place.spec.slots, tuple(waiting[name]), tuple(running))
        return loads

    def stranded(self) -> dict[JobClass, Decision]:
        """Classes with waiting jobs that no platform takes as things stand, and why; see `give_up`."""
        homes = {job_class: self._home(job_class) for job_class in self._queued()}
        return {waits: Decision("queued", None, home.reason) for waits, home in homes.items() if home.platform is None}

    def give_up(self, job_class: JobClass) -> Job:
        """Take a waiting job out, as failed on the platform that it was meant for.

        Args:
            job_class: a class that `stranded` names; call once for each of its jobs, until it no longer does.

        Returns:
            The job.
        """
        job = self._take(job_class, now=float("inf"))
        self._tries.pop(job.num, None)
        self._decide_anew()
        meant_for = self._platforms.get(self._policy.target(job_class)[0])
        if meant_for is not None:
            meant_for.failed += 1
        return job

    def _next(self, now: float) -> Assignment | None:
        """The assignment of the first class, in order, that can be placed."""
        waiting = self._source.waiting()
        due = self._retries.due(now)
        if due:
            waiting = {**dict.fromkeys(due, 1), **waiting}  # tried again before its equals
        self._refresh(waiting, now)
        states: Mapping[str, PlatformState] = self._states
        ahead: list[JobClass] = []  # those that wait, and are overtaken by what is placed
        for job_class in sorted(waiting, key=_urgency):
            blocked = self._blocked.get(job_class)
            if blocked is None or blocked.gains_seen < len(self._gains):
                if blocked is None:
                    home = self._home(job_class)
                    decision = self._policy.place(job_class, home, states, now)
                else:
                    home, decision = blocked.home, blocked.decision
                    gained = dict.fromkeys(self._gains[blocked.gains_seen :])
                    decision = self._policy.place_again(job_class, home, states, now, decision, gained)
                if decision.status != "queued":
                    assert decision.platform is not None
                    self._note_overtaking(job_class, decision.platform, ahead)
                    return self._start(job_class, decision.platform, decision, now)
                blocked = self._blocked[job_class] = _Blocked(home, decision, len(self._gains))
            ahead.append(job_class)
            kept = blocked.decision.platform
            if self._overtaken and kept is not None and self._overtaken.get(job_class, 0) >= states[kept].slots:
                states = {**states, kept: replace(states[kept], running=states[kept].slots)}
        return None

    def _start(self, job_class: JobClass, platform: str, decision: Decision, now: float) -> Assignment:
        job = self._take(job_class, now)
        place = self._platforms[platform]
        slot = place.start(job, job_class, now)
        self._stale.add(platform)
        if decision.platform != (home := self._home(job_class).platform) and home is not None:
            self._stale.add(home)  # its backlog is shorter
        if not place.open():
            self._open.discard(platform)
        tries = self._tries.setdefault(job.num, _Tries())
        tries.number += 1
        return Assignment(job, platform, slot, tries.number, decision)

    def _take(self, job_class: JobClass, now: float) -> Job:
        return self._retries.take(job_class, now) or self._source.take(job_class)

    def _note_overtaking(self, placed: JobClass, platform: str, ahead: list[JobClass]) -> None:
        if self._overtaken.pop(placed, 0) >= self._platforms[platform].spec.slots:
            self._gains.append(platform)  # it was kept from others
            return
        for job_class in ahead:
            if self._blocked[job_class].decision.platform == platform:
                self._overtaken[job_class] = self._overtaken.get(job_class, 0) + 1

    def _freed(self, place: Occupancy[Job]) -> None:
        """Room has come to a platform."""
        name = place.spec.name
        self._stale.add(name)
        self._gains.append(name)
        if place.open():
            self._open.add(name)
        else:
            self._open.discard(name)

    def _decide_anew(self) -> None:
        """Forget which classes wait, and for what."""
        self._blocked.clear()
        self._gains.clear()

    def _queued(self) -> dict[JobClass, int]:
        queued = dict(self._source.waiting())
        for _, job_class in self._retries:
            queued[job_class] = queued.get(job_class, 0) + 1
        return queued

    def _home(self, job_class: JobClass) -> Home:
        """A class's home, found once until availability changes; of a class that fits nowhere, none."""
        home = self._homes.get(job_class)
        if home is None:
            try:
                home = self._policy.home(job_class, self._states)
            except RoutingError as error:
                home = Home(None, "queued", str(error))
            self._homes[job_class] = home
        return home

    def _refresh(self, waiting: Mapping[JobClass, int], now: float) -> None:
        """Bring the snapshot up to date: only what has changed since the last decision."""
        if not self._stale:
            return
        backlog = self._backlog(waiting) if self._policy.overflow == "when_faster" else {}
        for name in self._stale:
            place, waits_s = self._platforms[name], backlog.get(name)
            free_at = None if waits_s is None else now + (place.left_s(now) + waits_s) / place.spec.slots
            self._states[name] = place.state(free_at)
        self._stale.clear()

    def _backlog(self, waiting: Mapping[JobClass, int]) -> dict[str, float]:
        """Expected seconds of what waits for each stale platform but one job: the one that is decided about."""
        work: dict[str, float] = {}
        jobs: dict[str, int] = {}
        for job_class, number in waiting.items():
            home = self._home(job_class).platform
            if home in self._stale and home is not None:
                work[home] = work.get(home, 0.0) + number * self._platforms[home].expected_s(job_class)
                jobs[home] = jobs.get(home, 0) + number
        return {name: seconds * (1.0 - 1.0 / jobs[name]) for name, seconds in work.items()}


def _urgency(job_class: JobClass) -> int:
    """Sorts the highest priority to the front, and leaves equal ones as the source has them."""
    return -job_class.priority
