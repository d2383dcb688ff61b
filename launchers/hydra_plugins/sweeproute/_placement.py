"""Says which of the classes that wait is placed next."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from ._admission import JobClass, PlatformState
from ._board import Board, Sent
from ._condition import Condition
from ._policy import Decision, Home, Policy

# Seconds after which every class that waits is decided anew: estimates of what is faster grow old without an event.
REVIEW_S = 10.0


class Placed(NamedTuple):
    """A class of which one job starts now.

    Attributes:
        job_class: the class.
        platform: where.
        decision: why there.
        taken_from: the platform in whose queue the job waits; None where it waits here.
    """

    job_class: JobClass
    platform: str
    decision: Decision
    taken_from: str | None = None


@dataclass(slots=True)
class _Blocked:
    """A class that waits: its home, its decision, and how many of the gains of room it has seen."""

    home: Home
    decision: Decision
    gains_seen: int


class Placement:
    """Decides per class, in order of urgency.

    A class that cannot be placed is decided again when room has come to a platform, for that platform alone, and does
    not block the classes behind it; once these have taken as many places as its platform has slots, though, that
    platform is kept for it, so that a job that needs much memory, or the whole machine, does not wait for ever.

    Args:
        policy: decides where.
        board: the platforms.
    """

    def __init__(self, policy: Policy, board: Board) -> None:
        self._policy = policy
        self._board = board
        self._blocked: dict[JobClass, _Blocked] = {}
        self._gains: list[str] = []  # platforms to which room has come, in order
        self._overtaken: dict[JobClass, int] = {}
        self._reviewed_at = float("-inf")

    def gained(self, platform: str) -> None:
        """Note that room has come to a platform."""
        self._gains.append(platform)

    def anew(self) -> None:
        """Forget which classes wait, and for what."""
        self._blocked.clear()
        self._gains.clear()

    def review(self, now: float) -> None:
        """Decide anew about every class that waits, on estimates of this moment."""
        self._reviewed_at = now
        self._board.outdated(
            waits.decision.platform for waits in self._blocked.values() if waits.decision.platform is not None
        )
        self.anew()

    def review_old(self, now: float) -> None:
        """Review what was decided some time ago."""
        if now >= self._reviewed_at + REVIEW_S:  # as `review_at` says: a difference may round to less
            self.review(now)

    def review_at(self) -> float | None:
        """When a review may place a class that waits; None where only an event can."""
        if not (self._blocked and self._board.open and self._policy.overflow == "when_faster"):
            return None
        return self._reviewed_at + REVIEW_S

    def next(self, waiting: Mapping[JobClass, int], movable: Sent, now: float) -> Placed | None:
        """The first class, in order, that can be placed.

        Args:
            waiting: classes of which jobs wait here.
            movable: jobs that wait in a platform's own queue, by platform and class; they come after all others, the
                least urgent class first, since that queue is worked through from the other end.
            now: seconds.

        Returns:
            The class, and where; None where nothing that waits can start.
        """
        states: Mapping[str, PlatformState] = self._board.states
        ahead: list[JobClass] = []  # those that wait, and are overtaken by what is placed
        for job_class in sorted(waiting, key=_urgency):
            blocked = self._blocked.get(job_class)
            if blocked is None or blocked.gains_seen < len(self._gains):
                home, decision = self._decide(job_class, blocked, states, now)
                if decision.status != "queued":
                    assert decision.platform is not None
                    self._note_overtaking(job_class, decision.platform, ahead)
                    return Placed(job_class, decision.platform, decision)
                if blocked is None:
                    blocked = self._blocked[job_class] = _Blocked(home, decision, 0)
                blocked.decision, blocked.gains_seen = decision, len(self._gains)
            ahead.append(job_class)
            kept = blocked.decision.platform
            if self._overtaken and kept is not None and self._overtaken.get(job_class, 0) >= states[kept].slots:
                states = {**states, kept: replace(states[kept], running=states[kept].slots)}
        return self._move(movable, states, now) if movable else None

    def _move(self, movable: Sent, states: Mapping[str, PlatformState], now: float) -> Placed | None:
        for platform, classes in movable.items():
            place = self._board.places[platform]
            if place.condition is Condition.SUSPECT:
                continue
            at_once = place.condition is Condition.AVAILABLE and not place.held
            if at_once and sum(map(len, classes.values())) <= place.free():
                continue  # they are about to start
            for job_class in sorted(classes, key=_urgency, reverse=True):
                blocked = self._blocked.get(job_class)
                if blocked is not None and blocked.gains_seen == len(self._gains):
                    continue
                home, decision = self._decide(job_class, blocked, states, now)
                if decision.status == "queued":
                    self._blocked[job_class] = _Blocked(home, decision, len(self._gains))
                elif decision.platform is not None and decision.platform != platform:
                    return Placed(job_class, decision.platform, decision, platform)
        return None

    def _decide(
        self, job_class: JobClass, blocked: _Blocked | None, states: Mapping[str, PlatformState], now: float
    ) -> tuple[Home, Decision]:
        if blocked is None:
            home = self._board.home(job_class)
            return home, self._policy.place(job_class, home, states, now)
        gained = dict.fromkeys(self._gains[blocked.gains_seen :])
        return blocked.home, self._policy.place_again(job_class, blocked.home, states, now, blocked.decision, gained)

    def _note_overtaking(self, placed: JobClass, platform: str, ahead: list[JobClass]) -> None:
        if self._overtaken.pop(placed, 0) >= self._board.states[platform].slots:
            self._gains.append(platform)  # it was kept from others
            return
        for job_class in ahead:
            if self._blocked[job_class].decision.platform == platform:
                self._overtaken[job_class] = self._overtaken.get(job_class, 0) + 1


def _urgency(job_class: JobClass) -> int:
    """Sorts the highest priority to the front, and leaves equal ones as the source has them."""
    return -job_class.priority
