"""Finds the running job that another platform would finish sooner."""

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
        self._compared: set[str] = set()  # free platforms with which running jobs were compared
        self._compared_at = float("-inf")
        self._begun = -1  # attempts that had begun by then
        self._found: list[tuple[float, Straggler]] = []  # with what is left of each, the most last
        self._waits = False  # whether time alone may make a straggler of one of them

    def take(self, now: float) -> Straggler | None:
        """The job to restart first: the one that is expected to end last where it runs.

        Args:
            now: seconds.

        Returns:
            The job; None where all are best left alone.
        """
        if now >= self._compared_at + REVIEW_S and (self._waits or self._begun != self._attempts.begun):
            self._compared.clear()
            self._found.clear()
            self._waits = False
        fresh = self._board.open - self._compared
        if fresh:
            self._compare_with(fresh, now)
        for place in reversed(range(len(self._found))):
            straggler = self._found[place][1]
            if straggler.fast in self._board.open:
                del self._found[place]
                if self._runs_once(straggler.life) and takes(straggler.job_class, self._board.states[straggler.fast]):
                    self._begun += 1  # the copy is no reason for a review
                    return straggler
        return None

    def review_at(self, now: float) -> float | None:
        """When one may be found although nothing has happened."""
        at = self._compared_at + REVIEW_S
        return at if self._waits and at > now else None

    def _compare_with(self, free: set[str], now: float) -> None:
        """Note which jobs are stragglers, as far as these are the fastest of the platforms that are free."""
        fastest: dict[JobClass, str | None] = {}
        for slow, place in self._board.places.items():
            if place.condition not in HEARD:
                continue
            for running in place.running.values():
                job_class = running.job_class
                if job_class not in fastest:
                    fast = self._fastest(job_class)
                    fastest[job_class] = fast if fast in free else None
                fast = fastest[job_class]
                if fast is None or place.expected_s(job_class) <= self._board.places[fast].expected_s(job_class):
                    continue
                life = self._attempts.by_job[running.job.num]
                if self._runs_once(life):
                    left_s, again_s = self._compare(running, slow, fast, now)
                    if left_s > MARGIN * again_s:
                        self._found.append((left_s, Straggler(life, job_class, slow, fast)))
                    else:
                        self._waits = True
        self._compared |= free
        self._compared_at, self._begun = now, self._attempts.begun
        self._found.sort(key=lambda entry: (entry[0], -entry[1].life.job.num))

    def _runs_once(self, life: Life) -> bool:
        """Whether a job still runs, in one place, and was not restarted before."""
        return not life.restarted and len(life.live) == 1 and life.moving is None

    def _fastest(self, job_class: JobClass) -> str | None:
        """The free platform on which a class is expected to run fastest."""
        if job_class.asked:
            return None

        def rank(name: str) -> tuple[float, bool, str]:
            return self._board.places[name].expected_s(job_class), name not in self._compared, name

        names = (name for name in sorted(self._board.open, key=rank) if takes(job_class, self._board.states[name]))
        return next(names, None)

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
