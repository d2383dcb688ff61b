"""Says how a sweep stands, for the live table, and what the loss of a platform means for it."""

from collections.abc import Mapping, Sequence
from typing import cast

from ._alarm import Loss
from ._assignment import Job
from ._backend import Backend, Moved, QueueBackend
from ._book import Attempt
from ._conditions import Conditions
from ._durations import Durations, Load, time_left
from ._live import SweepState
from ._occupancy import Counts
from ._scheduler import Scheduler
from ._source import JobSource


class Overview:
    """Puts together what several rooms know of one sweep.

    Args:
        scheduler: Counts jobs.
        backends: By platform.
        points: What is to run.
        durations: What is known of how long jobs run.
        conditions: Of the platforms' machines.
        began: When the sweep began, in seconds of the scheduler's clock.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        backends: Mapping[str, Backend],
        points: JobSource,
        durations: Durations,
        conditions: Conditions,
        began: float,
    ) -> None:
        self._scheduler = scheduler
        self._backends = backends
        self._points = points
        self._durations = durations
        self._conditions = conditions
        self._began = began
        self._before = len(points.returns)

    def state(self, now: float) -> SweepState:
        """What the live table shows.

        Args:
            now: Seconds of the scheduler's clock.
        """
        counts = {
            name: one
            for name, one in self._scheduler.counts(self._points.behind()).items()
            if name in self._backends or one.queued or one.failed
        }
        notes = {
            name: self._conditions.note(name, cast(QueueBackend, one).load(), counts[name].queued)
            for name, one in self._backends.items()
            if hasattr(one, "load")
        }
        total = self._points.total()
        total = None if total is None else total - self._before
        return SweepState(counts, total, now - self._began, time_left(self._loads(now).values()), notes)

    def loss(self, event: Moved, before: Mapping[str, Counts], there: Sequence[Attempt], now: float) -> Loss:
        """What it means that a platform is down.

        Args:
            event: Says so.
            before: Counts of jobs before the scheduler heard of it.
            there: Attempts that wait or run on it.
            now: Seconds of the scheduler's clock.
        """
        classes = [attempt.job.job_class for attempt in there if not attempt.begun]
        return Loss(
            platform=event.platform,
            why=event.why,
            before=before,
            after=self._scheduler.counts(),
            classes=[*classes, *(one for one, number in self._points.waiting().items() for _ in range(number))],
            running=sum(attempt.begun for attempt in there),
            left_s=time_left(self._loads(now).values()),
            answers=not event.silent,
        )

    def _loads(self, now: float) -> Mapping[str, Load]:
        return self._scheduler.loads(now, self._points.waiting_s, self._expected_s)

    def _expected_s(self, job: Job, platform: str) -> float | None:
        model = dict(job.job_class.fields).get("model_type")
        return self._durations.expected(job.overrides, model, platform)
