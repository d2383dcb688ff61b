"""Runs the scheduler of a sweep under a virtual clock."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Any

from ._admission import JobClass, PlatformState
from ._durations import Durations, LongestFirst
from ._policy import Policy
from ._retry import Outcome
from ._scheduler import Assignment, Job, Scheduler, Source

FINISHED = Outcome("FINISHED")


class SimulationStuckError(RuntimeError):
    """Jobs wait, nothing runs, and no platform takes them."""


class JobList:
    """A source of jobs that are all there from the start.

    Args:
        jobs: in the order in which they are to run, as long as no durations are known.
        durations: what is known of how long they run; the longest of a class is taken first.
    """

    def __init__(self, jobs: Iterable[Job], durations: Durations | None = None) -> None:
        durations = durations or Durations()
        self._queues: dict[JobClass, LongestFirst[Job]] = {}
        for job in jobs:
            queue = self._queues.get(job.job_class)
            if queue is None:
                queue = self._queues[job.job_class] = LongestFirst(
                    durations, lambda job: durations.expected(job.overrides)
                )
            queue.add(job)
        self._waiting = {job_class: len(queue) for job_class, queue in self._queues.items()}

    def waiting(self) -> Mapping[JobClass, int]:
        """See Source."""
        return self._waiting

    def take(self, job_class: JobClass) -> Job:
        """See Source."""
        self._waiting[job_class] -= 1
        if not self._waiting[job_class]:
            del self._waiting[job_class]
        return self._queues[job_class].pop()

    def closed(self) -> bool:
        """See Source."""
        return True

    def ahead(self, slots: int) -> int | None:  # noqa: ARG002
        """See Source."""
        return None


@dataclass(frozen=True, slots=True)
class Stretch:
    """An attempt in the simulated past; seconds from the start of the sweep.

    Attributes:
        assignment: what the scheduler said.
        started, ended: seconds.
        outcome: how it ended; None when another attempt at the job was first.
    """

    assignment: Assignment
    started: float
    ended: float
    outcome: Outcome | None


@dataclass(frozen=True)
class Simulation:
    """What happened.

    Attributes:
        stretches: every attempt that ran, in the order of their ends.
        slots: slots of all platforms.
        bound_s: lower bound on the makespan, see `makespan_bound`.
    """

    stretches: tuple[Stretch, ...]
    slots: int
    bound_s: float

    @property
    def makespan_s(self) -> float:
        """Seconds from the start to the last end."""
        return max((stretch.ended for stretch in self.stretches), default=0.0)

    @property
    def idle_share(self) -> float:
        """Share of the slots' time until the last end in which nothing ran whose outcome counts, 0 to 1."""
        busy = sum(stretch.ended - stretch.started for stretch in self.stretches if stretch.outcome is not None)
        return 1.0 - busy / (self.makespan_s * self.slots) if self.stretches else 0.0


class _Machines:
    """The simulated machines: what runs on them until when, what waits in their own queues."""

    def __init__(self, scheduler: Scheduler, platforms: Sequence[PlatformState], run_s: Callable[[Job, str], float]):
        self.stretches: list[Stretch] = []
        self._scheduler = scheduler
        self._run_s = run_s
        self._slots = {state.name: state.slots for state in platforms}
        self._queues: dict[str, dict[int, Assignment]] = {state.name: {} for state in platforms if state.ahead}
        self._busy: Counter[str] = Counter()  # jobs that run, by platform
        self._running: dict[tuple[str, int], tuple[Assignment, float]] = {}  # by platform and job: what, since when
        self._ends: list[tuple[float, int, Assignment]] = []
        self._begun = 0

    def take(self, assignment: Assignment, now: float) -> None:
        """Take a job, from the queue in which it waits if that is where it is."""
        num, recall = assignment.job.num, assignment.recall
        if recall is not None:
            waits = self._queues[recall].pop(num, None) is not None
            if self._scheduler.recalled(assignment, waits, now) is None:
                return
        if assignment.platform in self._queues:
            self._queues[assignment.platform][num] = assignment
        else:
            self._begin(assignment, now)

    def start_queued(self, now: float) -> None:
        """Let machines with a queue of their own start what they have room for."""
        for platform, queue in self._queues.items():
            room = self._slots[platform] - self._busy[platform]
            if room <= 0 or not queue:
                continue
            for job in self._scheduler.reordered(platform) or ():
                queue[job.num] = queue.pop(job.num)
            for num in list(islice(queue, room)):
                self._scheduler.started(queue[num].job, platform, now)
                self._begin(queue.pop(num), now)

    def next_end(self) -> float | None:
        """When the next attempt ends."""
        while self._ends:
            at, _, assignment = self._ends[0]
            if self._running.get((assignment.platform, assignment.job.num), (None,))[0] is assignment:
                return at
            heapq.heappop(self._ends)  # it was cancelled
        return None

    def end_next(self, outcome: Callable[[Assignment], Outcome]) -> Stretch:
        """End the attempt whose turn it is, and those at the same job that are to end with it."""
        now, _, assignment = heapq.heappop(self._ends)
        job, platform = assignment.job, assignment.platform
        began = self._end(platform, job)
        ended = outcome(assignment)
        stretch = Stretch(assignment, began, now, ended)
        self.stretches.append(stretch)
        verdict = self._scheduler.finished(job, platform, assignment.slot, ended, now)
        for other, _ in verdict.also:
            if (other, job.num) in self._running:
                cancelled = self._running[other, job.num][0]
                self.stretches.append(Stretch(cancelled, self._end(other, job), now, None))
            else:
                del self._queues[other][job.num]
        return stretch

    def _end(self, platform: str, job: Job) -> float:
        """Free a slot; when what ran in it began."""
        self._busy[platform] -= 1
        return self._running.pop((platform, job.num))[1]

    def _begin(self, assignment: Assignment, now: float) -> None:
        self._busy[assignment.platform] += 1
        self._running[assignment.platform, assignment.job.num] = (assignment, now)
        self._begun += 1
        end = now + self._run_s(assignment.job, assignment.platform)
        heapq.heappush(self._ends, (end, self._begun, assignment))


def simulate(
    jobs: Iterable[tuple[Job, float]],
    platforms: Sequence[PlatformState],
    policy: Policy,
    *,
    speed: Mapping[str, float] | None = None,
    run_s: Callable[[Job, str], float] | None = None,
    durations: Durations | None = None,
    learn: bool = False,
    restart_slow: bool = True,
    outcome: Callable[[Assignment], Outcome] = lambda _: FINISHED,
    source: Callable[[Iterable[Job], Durations], Source] = JobList,
) -> Simulation:
    """Run a sweep to its end under a virtual clock.

    Args:
        jobs: each job with its seconds on a slot of speed 1.
        platforms: as the policy sees them at the start.
        policy: decides where.
        speed: how fast each platform really is, by name; 1 where it is absent.
        run_s: seconds of a job on a platform; its length over the platform's speed when None.
        durations: what is known of them at the start.
        learn: whether more is learned from each job that finishes.
        restart_slow: see Scheduler.
        outcome: how an attempt ends.
        source: makes what the scheduler takes jobs from.

    Returns:
        The simulation.

    Raises:
        SimulationStuckError: jobs are left that no platform takes.
    """
    seconds = {job.num: (job, length) for job, length in jobs}
    speeds = {state.name: (speed or {}).get(state.name, 1.0) for state in platforms}
    durations = durations or Durations()
    jobs_left = source([job for job, _ in seconds.values()], durations)
    scheduler = Scheduler(policy, platforms, jobs_left, rng=Random(0), durations=durations, restart_slow=restart_slow)

    def by_speed(job: Job, platform: str) -> float:
        return seconds[job.num][1] / speeds[platform]

    machines = _Machines(scheduler, platforms, run_s or by_speed)
    now = 0.0
    while True:
        for assignment in [*scheduler.assign(now), *scheduler.sends(now, len(seconds))]:
            machines.take(assignment, now)
        machines.start_queued(now)
        if scheduler.done():
            break
        wakeup, end = scheduler.next_wakeup(now), machines.next_end()
        if end is not None and (wakeup is None or end <= wakeup):
            now = end
            stretch = machines.end_next(outcome)
            if learn:
                durations.learn(_record(stretch))
        elif wakeup is not None and wakeup > now:
            now = wakeup
        else:
            why = "; ".join(decision.reason for decision in scheduler.stranded().values())
            raise SimulationStuckError(f"Jobs wait that no platform takes: {why or 'nothing says why'}.")
    fastest_first = [speeds[state.name] for state in platforms for _ in range(state.slots)]
    bound_s = makespan_bound([length for _, length in seconds.values()], fastest_first)
    return Simulation(tuple(machines.stretches), len(fastest_first), bound_s)


def _record(stretch: Stretch) -> dict[str, Any]:
    """An attempt that has ended, as a line of history.jsonl."""
    job = stretch.assignment.job
    return {
        "model": job.job_class.model_type,
        "platform": stretch.assignment.platform,
        "overrides": job.overrides,
        "seconds": stretch.ended - stretch.started,
        "outcome": stretch.outcome.status if stretch.outcome else None,
    }


def makespan_bound(seconds: Iterable[float], speeds: Iterable[float]) -> float:
    """Lower bound on the makespan of jobs on slots of different speed.

    The k longest jobs need at least the time that the k fastest slots take for their sum, for every k below the number
    of slots; all jobs need what all slots take for the whole sum. It is what a schedule with free preemption reaches
    (T. Gonzalez, S. Sahni: Preemptive scheduling of uniform processor systems, Journal of the ACM 25, 1978, p. 92), so
    no schedule without preemption is shorter.

    Args:
        seconds: length of each job on a slot of speed 1.
        speeds: speed of each slot.

    Returns:
        Seconds.

    Example:
        >>> makespan_bound([8.0, 2.0, 2.0], [2.0, 1.0])
        4.0
    """
    longest_first = sorted(seconds, reverse=True)
    fastest_first = sorted(speeds, reverse=True)
    bound = sum(longest_first) / sum(fastest_first)
    work = power = 0.0
    for length, speed in zip(longest_first, fastest_first[:-1], strict=False):
        work, power = work + length, power + speed
        bound = max(bound, work / power)
    return bound
