"""Keeps what runs on one platform: its slots with the memory that they reserve."""

import heapq
from dataclasses import dataclass
from typing import Generic, TypeVar

from ._admission import JobClass, PlatformState, expected_s
from ._condition import KEEPS_JOBS, NEXT, Condition, ForbiddenTransitionError
from ._durations import remaining_s

Job = TypeVar("Job")


@dataclass(frozen=True, slots=True)
class Counts:
    """Jobs of one platform.

    Attributes:
        slots: jobs that it runs at once.
        running: attempts that run there.
        queued: jobs that wait for it as things stand, and those in its own queue.
        done: jobs that finished there.
        failed: jobs that have no further attempt.
        pruned: jobs whose rest was not needed.
    """

    slots: int
    running: int
    queued: int
    done: int
    failed: int
    pruned: int = 0


@dataclass(slots=True)
class Running(Generic[Job]):
    """A job in a slot.

    Attributes:
        job: the job.
        job_class: its class in this attempt.
        started: when it started, in the scheduler's seconds.
        expected_s: how long it is expected to run.
        measured: whether the platform's memory was last measured with it running.
    """

    job: Job
    job_class: JobClass
    started: float
    expected_s: float
    measured: bool = False


class Occupancy(Generic[Job]):
    """What runs on one platform.

    Args:
        spec: the platform as it is at the start, nothing running; silent, it begins as suspect.

    Attributes:
        condition: see Condition.
        why: why it takes nothing, as a clause that follows its name; empty when it does.
        held: why it starts nothing out of its own queue although it has slots, as such a clause; empty when it does.
        running: by slot; a platform with a queue of its own may run more than its slots.
        queued: jobs in its own queue.
        expected: seconds of a job by class, as far as they are estimated.
        done: jobs that finished here.
        failed: jobs that failed here for good.
        pruned: jobs of which the rest was not needed.
    """

    def __init__(self, spec: PlatformState) -> None:
        self.spec = spec
        begins = Condition.SUSPECT if spec.silent else Condition.AVAILABLE
        self._enter(begins if spec.available else Condition.DOWN)
        self.why = "" if self._takes else spec.why
        self.held = ""
        self._held_since = 0.0
        self.running: dict[int, Running[Job]] = {}
        self.queued = 0
        self.done = 0
        self.failed = 0
        self.pruned = 0
        self._free = list(range(spec.slots))
        self.expected: dict[JobClass, float] = {}
        self._alone = False
        self._reserved_gb = 0.0
        self._reserved_gpu_gb = 0.0
        self._measured_gb: float | None = None

    def move(self, condition: Condition, why: str) -> None:
        """Change the condition, `why` being empty or a clause that follows the platform's name.

        Raises:
            ForbiddenTransitionError: it cannot follow the present one.
        """
        if condition is not self.condition and condition not in NEXT[self.condition]:
            raise ForbiddenTransitionError(self.spec.name, self.condition, condition)
        self._enter(condition)
        self.why = why

    def hold(self, why: str, now: float) -> None:
        """Note what its own queue waits for; see `held`."""
        if why and not self.held:
            self._held_since = now
        self.held = why

    def open(self) -> bool:
        """Whether another job could start at once."""
        return self._takes and not self._alone and not self.held and len(self.running) + self.queued < self.spec.slots

    def free(self) -> int:
        """Slots in which nothing runs."""
        return len(self._free)

    def start(self, job: Job, job_class: JobClass, now: float) -> int:
        """Put a job into the lowest free slot, or a further one where a platform runs more than it has slots.

        Returns:
            The slot.
        """
        slot = heapq.heappop(self._free) if self._free else max(self.running) + 1
        self.running[slot] = Running(job, job_class, now, self.expected_s(job_class))
        self._reserve(job_class)
        return slot

    def end(self, slot: int) -> Running[Job]:
        """Free a slot.

        Returns:
            What ran in it.
        """
        running = self.running.pop(slot)
        if slot < self.spec.slots:
            heapq.heappush(self._free, slot)
        self._sum()
        return running

    def measure(self, free_gb: float) -> None:
        """Note the main memory that was found free just now."""
        self._measured_gb = free_gb
        for running in self.running.values():
            running.measured = True

    def memory_free_gb(self) -> float:
        """What reservations leave, or what was measured less what has been reserved since, whichever is smaller."""
        free = self.spec.memory_gb - self._reserved_gb
        if self._measured_gb is None:
            return free
        since = sum(running.job_class.memory_gb for running in self.running.values() if not running.measured)
        return min(free, self._measured_gb - since)

    def expected_s(self, job_class: JobClass) -> float:
        """Estimated seconds of a job of this class here."""
        known = self.expected.get(job_class)
        return expected_s(job_class, self.spec) if known is None else known

    def expect(self) -> None:
        """Take new estimates into account for what runs."""
        for running in self.running.values():
            running.expected_s = self.expected_s(running.job_class)

    def held_s(self, now: float) -> float:
        """Expected seconds until its own queue goes on: as long again as it has been held."""
        return now - self._held_since if self.held else 0.0

    def left_s(self, now: float) -> float:
        """Expected seconds of work in what runs."""
        return sum(remaining_s(running.expected_s, now - running.started) for running in self.running.values())

    def counts(self, queued: int) -> Counts:
        """Jobs here; the platform does not know how many wait for it elsewhere."""
        return Counts(self.spec.slots, len(self.running), queued, self.done, self.failed, self.pruned)

    def state(self, free_at: float | None) -> PlatformState:
        """The platform as the policy sees it; see PlatformState for `free_at`."""
        spec = self.spec
        return PlatformState(
            name=spec.name,
            slots=spec.slots,
            running=spec.slots if self._alone or self.held else len(self.running) + self.queued,
            memory_gb=spec.memory_gb,
            memory_free_gb=self.memory_free_gb(),
            gpu_memory_gb=spec.gpu_memory_gb,
            gpu_memory_free_gb=spec.gpu_memory_gb - self._reserved_gpu_gb,
            available=self._keeps,
            why=self.why or self.held,
            speed=spec.speed,
            free_at=free_at,
            silent=self._keeps and not self._takes,
            ahead=spec.ahead,
            expected_s=self.expected,
            capabilities=spec.capabilities,
            lacking=spec.lacking,
        )

    def _enter(self, condition: Condition) -> None:
        """Set the condition, and what is asked about it several times a job."""
        self.condition = condition
        self._takes = condition is Condition.AVAILABLE
        self._keeps = condition in KEEPS_JOBS

    def _reserve(self, job_class: JobClass) -> None:
        self._alone |= job_class.alone
        self._reserved_gb += job_class.memory_gb
        self._reserved_gpu_gb += job_class.gpu_memory_gb

    def _sum(self) -> None:
        """Sum reservations anew: sums kept by adding and subtracting drift, and slots are few."""
        self._alone = False
        self._reserved_gb = self._reserved_gpu_gb = 0.0
        for running in self.running.values():
            self._reserve(running.job_class)
