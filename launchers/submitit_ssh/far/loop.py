"""One thread's event loop: calls what waits for a descriptor or for a moment."""

from __future__ import annotations

import heapq
import itertools
import selectors
import time
from collections.abc import Callable

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE


class Timer:
    """A call that is due at a moment, unless it is cancelled."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Have it not made."""
        self.call = None


class Loop:
    """Calls back; nothing that is called may block.

    Args:
        turned: Called when all that was ready has been dealt with, before the next wait.
    """

    def __init__(self, turned: Callable[[], None]) -> None:
        self._turned = turned
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._stopped = False

    def watch(self, descriptor: int, call: Callable[[int], None], events: int = READ) -> None:
        """Call with the events that are ready, as often as they are; replaces what was asked for this descriptor."""
        known = self._selector.get_map().get(descriptor)
        if known is None:
            self._selector.register(descriptor, events, call)
        elif known.events != events or known.data != call:
            self._selector.modify(descriptor, events, call)

    def forget(self, descriptor: int) -> None:
        """Call no more for a descriptor; before it is closed."""
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call once, in so many seconds."""
        timer = Timer(call)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._count), timer))
        return timer

    def stop(self) -> None:
        """Return from `run` after this turn."""
        self._stopped = True

    def run(self) -> None:
        """Go on until `stop`."""
        while not self._stopped:
            self._turned()
            for key, events in self._selector.select(self._wait_s()):
                # An earlier call of this turn may have closed what this one is for.
                if self._selector.get_map().get(key.fd) is key:
                    key.data(events)
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                call = heapq.heappop(self._timers)[2].call
                if call is not None:
                    call()

    def _wait_s(self) -> float | None:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
