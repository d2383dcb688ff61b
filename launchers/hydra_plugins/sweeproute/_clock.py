"""Counts the seconds for which this process was awake."""

import time
from collections.abc import Callable

# Seconds between two looks that are counted at most; who looks has something to do once a second.
_LOOK_S = 5.0


class AwakeClock:
    """A clock that stands still while its process is stopped, or its machine asleep, so that waking is no outage.

    Args:
        monotonic: Seconds of a clock that does not run backwards.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._looked = monotonic()
        self._awake = 0.0

    def __call__(self) -> float:
        """Seconds since this clock was made; has to be looked at every few seconds."""
        before, self._looked = self._looked, self._monotonic()
        self._awake += min(_LOOK_S, self._looked - before)
        return self._awake
