"""Tells the person when a sweep loses a platform, and when it is back."""

from ._live import View
from ._occupancy import Counts


class SweepAlarm:
    """See Alarm.

    Args:
        view: Where lines go.
    """

    def __init__(self, view: View) -> None:
        self._view = view

    def lost(self, platform: str, why: str, counts: Counts) -> None:
        """See Alarm."""
        there = f", {counts.running} may still run there" if counts.running else ""
        self._view.event(f"{platform} {why}; its {counts.queued} queued jobs go on elsewhere{there}")

    def back(self, platform: str) -> None:
        """See Alarm."""
        self._view.event(f"{platform} is back")

    def said(self, text: str) -> None:
        """See Alarm."""
        self._view.event(text)
