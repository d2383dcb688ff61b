"""Brings what running jobs report before the source of a sweep, which may have them stopped."""

from collections.abc import Iterator, Mapping

from ._book import Attempt
from ._pruning import read_reports
from ._source import JobSource

# Seconds between looks at what running jobs have reported: small files, of which only what is new is read.
_LOOK_S = 0.5

_Key = tuple[str, int]


class Reports:
    """What the attempts of a sweep have reported so far; idle where the source prunes nothing.

    Args:
        points: Hears of each step of a job once, whichever of its attempts came there first.
    """

    def __init__(self, points: JobSource) -> None:
        self._points = points
        self._look_at = float("-inf")
        self._offsets: dict[str, int] = {}
        self._steps: dict[int, int] = {}
        self._told: set[str] = set()

    def wait_s(self, now: float) -> float:
        """Seconds until the next look."""
        looks = self._points.prunes and not self._points.busy  # else a loop that waits would not wait at all
        return max(0.0, self._look_at - now) if looks else float("inf")

    def look(self, attempts: Mapping[_Key, Attempt], now: float) -> Iterator[tuple[_Key, str]]:
        """Take what is new, where it is time for that.

        Args:
            attempts: All that have not ended, by platform and place.
            now: Seconds.

        Yields:
            Where an attempt need not go on, and why; each once.
        """
        if not self._points.prunes or self._points.busy or now < self._look_at:
            return
        self._look_at = now + _LOOK_S
        for key, attempt in attempts.items():
            if attempt.begun and str(attempt.folder) not in self._told:
                reason = self._take(attempt)
                if reason is not None:
                    self._told.add(str(attempt.folder))
                    yield key, reason

    def last(self, attempt: Attempt) -> None:
        """Take what an attempt that has ended had still reported: others are compared with it."""
        if self._points.prunes:
            self._take(attempt)
            self._offsets.pop(str(attempt.folder), None)
            self._told.discard(str(attempt.folder))

    def _take(self, attempt: Attempt) -> str | None:
        folder, number = str(attempt.folder), attempt.job.num
        found, self._offsets[folder] = read_reports(attempt.folder, self._offsets.get(folder, 0))
        reason = None
        for report in found:
            if report.step > self._steps.get(number, -1):
                self._steps[number] = report.step
                reason = self._points.reported(number, report.step, report.metrics) or reason
        return reason
