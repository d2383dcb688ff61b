"""Finds the running job that another platform would finish sooner."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ._admission import JobClass, PlatformState, barrier, has_room
from ._attempts import Attempts, Life
from ._board import Board
from ._condition import Condition
from ._durations import Durations, uncertain_remaining_s
from ._occupancy import Running
from ._placement import REVIEW_S

# How many times longer what is left of a job must be than all of it elsewhere, before it is started there, too.
MARGIN = 1.1
# Where what runs is known to run.
HEARD = frozenset({Condition.AVAILABLE, Condition.PAUSED})


@dataclass(frozen=True, slots=True)
class Straggler:
    """A running job that is to be started again.

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
        self._compared: set[str] = set()  # platforms that are free, and for which there was none
        self._compared_at = float("-inf")
        self._waits = False  # whether time alone may make one a straggler

    def found(self, now: float) -> list[Straggler]:
        """Jobs that are to be restarted, as far as there is room.

        Args:
            now: seconds.

        Returns:
            The jobs, the one first that is expected to end last where it runs.
        """
        if now - self._compared_at >= REVIEW_S:
            self._compared.clear()
            self._compared_at, self._waits = now, False
        self._compared &= self._board.open
        fresh = self._board.open - self._compared
        found = []
        for life, running, slow, fast in self._candidates(fresh) if fresh else ():
            left_s, again_s = self._compare(running, slow, fast, now)
            self._waits = True
            if left_s > MARGIN * again_s:
                found.append((left_s, life.job.num, Straggler(life, running.job_class, slow, fast)))
        if not found:
            self._compared |= fresh
        found.sort(key=lambda entry: (-entry[0], entry[1]))
        return [straggler for _, _, straggler in found]

    def review_at(self, now: float) -> float | None:
        """When one may be found although nothing has happened."""
        at = self._compared_at + REVIEW_S
        return at if self._waits and at > now else None

    def _candidates(self, free: Collection[str]) -> Iterator[tuple[Life, Running, str, str]]:
        """Jobs that run once, with where they run and the free platform on which they would run fastest."""
        fastest: dict[JobClass, str | None] = {}
        for slow, place in self._board.places.items():
            if place.condition not in HEARD:
                continue
            for running in place.running.values():
                job_class = running.job_class
                if job_class not in fastest:
                    fastest[job_class] = self._fastest(job_class, free)
                fast = fastest[job_class]
                if fast is None or place.expected_s(job_class) <= self._board.places[fast].expected_s(job_class):
                    continue
                life = self._attempts.by_job[running.job.num]
                if not life.restarted and len(life.live) == 1 and life.moving is None:
                    yield life, running, slow, fast

    def _fastest(self, job_class: JobClass, free: Collection[str]) -> str | None:
        if job_class.asked:
            return None
        states = [self._board.states[name] for name in free]
        able = [state.name for state in states if takes(job_class, state)]
        return min(able, key=lambda name: (self._board.places[name].expected_s(job_class), name), default=None)

    def _compare(self, running: Running, slow: str, fast: str, now: float) -> tuple[float, float]:
        """Expected seconds that a job still needs where it runs, and those that it would need elsewhere."""
        here_s, there_s = (
            self._board.job_s(running.job, name) or self._board.places[name].expected_s(running.job_class)
            for name in (slow, fast)
        )
        elapsed_s = now - running.started
        left_s = uncertain_remaining_s(here_s, elapsed_s, self._durations.spread(running.job.overrides))
        return left_s, (elapsed_s + left_s) * there_s / here_s


def takes(job_class: JobClass, state: PlatformState) -> bool:
    """Whether a job could start on a platform now."""
    return has_room(job_class, state) and not barrier(job_class, state)
