"""Finds the running job that another platform would finish sooner."""

from collections.abc import Iterator
from dataclasses import dataclass

from ._admission import JobClass, barrier, has_room
from ._attempts import Attempts, Life
from ._board import Board
from ._condition import Condition
from ._durations import Durations, remaining_s
from ._occupancy import Running
from ._placement import REVIEW_S

# How many times longer what is left of a job must be than all of it elsewhere, before it is started there, too.
MARGIN = 1.1
# Where what runs is known to run.
HEARD = frozenset({Condition.AVAILABLE, Condition.PAUSED})


@dataclass(frozen=True, slots=True)
class Straggler:
    """A job that is to be started again beside its attempt.

    Attributes:
        life: the job.
        job_class: its class.
        slow: where it runs.
        fast: where it is expected to finish first.
    """

    life: Life
    job_class: JobClass
    slow: str
    fast: str


class Stragglers:
    """Compares what is left of running jobs with whole runs on free slots.

    Args:
        board: the platforms.
        attempts: what runs on them.
        durations: what is known of how long a job runs.
    """

    def __init__(self, board: Board, attempts: Attempts, durations: Durations) -> None:
        self._board = board
        self._attempts = attempts
        self._durations = durations
        self._compared: set[str] = set()  # platforms that are free, and for which there was no job to restart
        self._compared_at = float("-inf")
        self._waits = False  # whether time alone may make one a straggler

    def worst(self, now: float) -> Straggler | None:
        """The job that is expected to end last of those that are to be restarted.

        Args:
            now: seconds.

        Returns:
            The job; None where all are best left alone.
        """
        self._compared &= self._board.open
        if self._compared == self._board.open and now - self._compared_at < REVIEW_S:
            return None
        worst, latest_s = None, 0.0
        self._waits = False
        for life, running, slow, fast in self._candidates():
            left_s, again_s = self._compare(running, slow, fast, now)
            self._waits = True
            if left_s > latest_s and left_s > MARGIN * again_s:
                worst, latest_s = Straggler(life, running.job_class, slow, fast), left_s
        if worst is None:
            self._compared |= self._board.open
            self._compared_at = now
        return worst

    def review_at(self, now: float) -> float | None:
        """When one may be found although nothing has happened."""
        at = self._compared_at + REVIEW_S
        return at if self._waits and at > now else None

    def _candidates(self) -> Iterator[tuple[Life, Running, str, str]]:
        """Jobs that run once, with where they run and the free platform on which they would run fastest."""
        fastest: dict[JobClass, str | None] = {}
        for slow, place in self._board.places.items():
            if place.condition not in HEARD:
                continue
            for running in place.running.values():
                job_class = running.job_class
                if job_class not in fastest:
                    fastest[job_class] = self._fastest(job_class)
                fast = fastest[job_class]
                if fast is None or place.expected_s(job_class) <= self._board.places[fast].expected_s(job_class):
                    continue
                life = self._attempts.by_job[running.job.num]
                if not life.restarted and len(life.live) == 1 and life.moving is None:
                    yield life, running, slow, fast

    def _fastest(self, job_class: JobClass) -> str | None:
        if job_class.asked:
            return None
        states = [self._board.states[name] for name in self._board.open]
        able = [state.name for state in states if has_room(job_class, state) and not barrier(job_class, state)]
        return min(able, key=lambda name: (self._board.places[name].expected_s(job_class), name), default=None)

    def _compare(self, running: Running, slow: str, fast: str, now: float) -> tuple[float, float]:
        """Expected seconds that a job still needs where it runs, and those that it would need elsewhere."""
        overrides, model = running.job.overrides, running.job_class.model_type or None
        here_s, there_s = (
            self._durations.expected(overrides, model, name) or self._board.places[name].expected_s(running.job_class)
            for name in (slow, fast)
        )
        elapsed_s = now - running.started
        left_s = remaining_s(here_s, elapsed_s, self._durations.spread(overrides))
        return left_s, (elapsed_s + left_s) * there_s / here_s
