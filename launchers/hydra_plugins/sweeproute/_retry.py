"""Says what becomes of a job after an attempt that failed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Generic, Literal, TypeVar

from ._admission import JobClass

Job = TypeVar("Job")

ErrorClass = Literal["user", "out_of_memory", "killed", "time_limit", "lost", "precheck", "lacking"]

# A job whose attempts are used up on so many platforms is at fault itself, most likely.
PLATFORMS_TRIED = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        status: FINISHED, FAILED, or PRUNED where the rest of the task was not needed.
        error_class: what failed, None where nothing did. user: the task raised; out_of_memory; killed: its process
            died; lost: machine or line; time_limit; precheck: the platform cannot run jobs, the task never started;
            lacking: the platform lacks what this job requires, and may run others.
        message: of one that was pruned, why it was; of a precheck, why the platform is unavailable, as a clause that
            follows its name.
    """

    status: Literal["FINISHED", "PRUNED", "FAILED"]
    error_class: ErrorClass | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a job after an attempt.

    Attributes:
        final: whether the attempt's outcome is the job's.
        retry_at: when the next attempt may start; None when final, or when another attempt goes on.
        reason: why, as a clause; empty where the job finished.
        also: platform and slot of the attempts that went on beside a final one: they are to be ended, and are off the
            books already. The slot is None on a platform with a queue of its own.
    """

    final: bool
    retry_at: float | None = None
    reason: str = ""
    also: tuple[tuple[str, int | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waiting times between attempts, exponential with jitter: jobs that failed together do not return together.

    Attributes:
        base_s: before the second attempt.
        factor: from one attempt to the next.
        cap_s: longest wait.
    """

    base_s: float = 1.0
    factor: float = 2.0
    cap_s: float = 60.0

    def delay_s(self, failures: int, rng: Random) -> float:
        """Seconds to wait after a number of failures: between half of the exponential wait and all of it."""
        return min(self.cap_s, self.base_s * self.factor ** (failures - 1)) * rng.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True)
class NextTry:
    """What a job is tried as again.

    Attributes:
        job_class: its class from now on; None when there is no further attempt.
        delay_s: seconds to wait before.
        reason: why, as a clause.
    """

    job_class: JobClass | None
    delay_s: float
    reason: str


class RetryRules:
    """Infrastructure that failed is tried again, a task that raised is not.

    Args:
        rng: for the jitter.
        max_attempts: attempts of a job on one platform; used up by failures of the infrastructure, the job gets as many
            on one other platform. Of attempts that run out of memory it has so many in all.
        backoff: waiting times.
        user_errors: whether a job whose task raised is tried again, too, on the same platform.
    """

    def __init__(self, rng: Random, max_attempts: int, backoff: Backoff, user_errors: bool) -> None:
        self._rng = rng
        self._max_attempts = max_attempts
        self._backoff = backoff
        self._user_errors = user_errors

    def final(self, outcome: Outcome) -> bool:
        """Whether a failure is the job's own, and is not tried again."""
        return outcome.error_class in ("user", None) and not self._user_errors

    def count(self, outcome: Outcome, platform: str, failures: dict[str, int]) -> int:
        """Add a failure to a job's own by platform, unless the platform could not run it.

        Returns:
            Failures on that platform.
        """
        if outcome.error_class not in ("precheck", "lacking"):
            failures[platform] = failures.get(platform, 0) + 1
        return failures.get(platform, 0)

    def next_try(
        self,
        outcome: Outcome,
        job_class: JobClass,
        platform: str,
        failures: dict[str, int],
        memory_gb: Mapping[str, float],
        runs: Callable[[JobClass], bool],
    ) -> NextTry:
        """Decide about one failed attempt.

        Args:
            outcome: how it ended.
            job_class: the job's class in it.
            platform: where it ran.
            failures: the job's earlier failures by platform; this one is added to it, see `count`.
            memory_gb: main memory in all of each platform.
            runs: whether some available platform takes a class.

        Returns:
            The next try.
        """
        failed = self.count(outcome, platform, failures)
        if outcome.error_class == "precheck":
            return NextTry(job_class, 0.0, f"{platform} {outcome.message}")
        if outcome.error_class == "lacking":
            elsewhere = replace(job_class, avoid=(*job_class.avoid, platform))
            if job_class.asked or not runs(elsewhere):
                return NextTry(None, 0.0, f"{platform} lacks what it requires")
            return NextTry(elsewhere, 0.0, f"{platform} lacks what it requires, next on another platform")
        if outcome.error_class == "out_of_memory":
            return self._with_more_memory(job_class, platform, failures, memory_gb, runs)
        if self.final(outcome):
            return NextTry(None, 0.0, "the task raised")
        if failed < self._max_attempts:
            delay_s = self._backoff.delay_s(failed, self._rng)
            return NextTry(job_class, delay_s, f"attempt {failed + 1} of {self._max_attempts} in {delay_s:.1f} s")
        used_up = f"{failed} of {self._max_attempts} attempts used up on {platform}"
        spent = sum(number >= self._max_attempts for number in failures.values())
        elsewhere = replace(job_class, avoid=(*job_class.avoid, platform))
        by_user = outcome.error_class in ("user", None)
        if by_user or job_class.asked or spent >= PLATFORMS_TRIED or not runs(elsewhere):
            return NextTry(None, 0.0, used_up)
        return NextTry(elsewhere, 0.0, f"{used_up}, next on another platform")

    def _with_more_memory(
        self,
        job_class: JobClass,
        platform: str,
        failures: dict[str, int],
        memory_gb: Mapping[str, float],
        runs: Callable[[JobClass], bool],
    ) -> NextTry:
        if job_class.alone:
            return NextTry(None, 0.0, f"out of memory on {platform} with nothing beside it")
        if sum(failures.values()) >= self._max_attempts:
            return NextTry(None, 0.0, f"out of memory, {self._max_attempts} attempts used up")
        here_gb = memory_gb[platform]
        if job_class.asked is None:
            no_more = [name for name, gigabytes in memory_gb.items() if gigabytes <= here_gb]
            larger = replace(job_class, avoid=tuple(dict.fromkeys((*job_class.avoid, *no_more))))
            if runs(larger):
                return NextTry(larger, 0.0, f"out of memory on {platform}, next on a platform with more")
            less = [name for name, gigabytes in memory_gb.items() if gigabytes < here_gb]
            job_class = replace(job_class, avoid=tuple(dict.fromkeys((*job_class.avoid, *less))))
        return NextTry(replace(job_class, alone=True), 0.0, f"out of memory on {platform}, next with nothing beside it")


class RetryQueue(Generic[Job]):
    """Jobs that wait for their next attempt."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, Job, JobClass]] = []

    def __iter__(self) -> Iterator[tuple[Job, JobClass]]:
        return ((job, job_class) for _, job, job_class in self._waiting)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, at: float, job: Job, job_class: JobClass) -> None:
        """Queue a job, as a job of this class, not to start before `at`."""
        self._waiting.append((at, job, job_class))

    def due(self, now: float) -> list[JobClass]:
        """The classes of the jobs that may start."""
        return [job_class for at, _, job_class in self._waiting if at <= now]

    def next_at(self, now: float) -> float | None:
        """When the next job will be due, None where none will."""
        return min((at for at, _, _ in self._waiting if at > now), default=None)

    def take(self, job_class: JobClass, now: float) -> Job | None:
        """Take the first job of a class that may start, None where there is none."""
        for place, (at, job, waiting_class) in enumerate(self._waiting):
            if at <= now and waiting_class == job_class:
                del self._waiting[place]
                return job
        return None
