"""Runs the scheduler of a sweep under a virtual clock."""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from ._admission import JobClass, PlatformState
from ._durations import Durations, LongestFirst
from ._policy import Policy
from ._retry import Outcome
from ._scheduler import Assignment, Job, Scheduler

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


@dataclass(frozen=True, slots=True)
class Stretch:
    """An attempt in the simulated past; seconds from the start of the sweep."""

    assignment: Assignment
    started: float
    ended: float
    outcome: Outcome


@dataclass(frozen=True)
class Simulation:
    """What happened.

    Attributes:
        stretches: every attempt, in the order of their ends.
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
        """Share of the slots' time until the last end in which nothing ran, 0 to 1."""
        busy = sum(stretch.ended - stretch.started for stretch in self.stretches)
        return 1.0 - busy / (self.makespan_s * self.slots) if self.stretches else 0.0


def simulate(
    jobs: Iterable[tuple[Job, float]],
    platforms: Sequence[PlatformState],
    policy: Policy,
    *,
    speed: Mapping[str, float] | None = None,
    durations: Durations | None = None,
    outcome: Callable[[Assignment], Outcome] = lambda _: FINISHED,
) -> Simulation:
    """Run a sweep to its end under a virtual clock.

    Args:
        jobs: each job with its seconds on a slot of speed 1.
        platforms: as the policy sees them at the start.
        policy: decides where.
        speed: how fast each platform really is, by name; 1 where it is absent.
        durations: what the source knows of them; nothing is learned on the way.
        outcome: how an attempt ends.

    Returns:
        The simulation.

    Raises:
        SimulationStuckError: jobs are left that no platform takes.
    """
    seconds = {job.num: (job, length) for job, length in jobs}
    speeds = {state.name: (speed or {}).get(state.name, 1.0) for state in platforms}
    source = JobList([job for job, _ in seconds.values()], durations)
    scheduler = Scheduler(policy, platforms, source, rng=Random(0))
    now = 0.0
    running: list[tuple[float, int, Assignment, float]] = []  # end, tie-break, what, start
    stretches: list[Stretch] = []
    started = 0
    while True:
        for assignment in scheduler.assign(now):
            length = seconds[assignment.job.num][1] / speeds[assignment.platform]
            heapq.heappush(running, (now + length, started, assignment, now))
            started += 1
        if scheduler.done():
            break
        wakeup = scheduler.next_wakeup(now)
        if running and (wakeup is None or running[0][0] <= wakeup):
            now, _, assignment, began = heapq.heappop(running)
            ended = outcome(assignment)
            stretches.append(Stretch(assignment, began, now, ended))
            scheduler.finished(assignment.job, assignment.platform, assignment.slot, ended, now)
        elif wakeup is not None and wakeup > now:
            now = wakeup
        else:
            why = "; ".join(decision.reason for decision in scheduler.stranded().values())
            raise SimulationStuckError(f"Jobs wait that no platform takes: {why or 'nothing says why'}.")
    fastest_first = [speeds[state.name] for state in platforms for _ in range(state.slots)]
    bound_s = makespan_bound([length for _, length in seconds.values()], fastest_first)
    return Simulation(tuple(stretches), len(fastest_first), bound_s)


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
