"""Wakes a thread that waits in a selector, from any other thread."""

import contextlib
import os
import threading


class Waker:
    """A pipe whose one end is waited for."""

    def __init__(self) -> None:
        self._woken, self._waker = os.pipe()
        for descriptor in (self._woken, self._waker):
            os.set_blocking(descriptor, False)
        # Held by who writes, or closes: the number of a closed end may be another file's.
        self._lock = threading.RLock()
        self._closed = False

    def fileno(self) -> int:
        """What a selector is to wait for."""
        return self._woken

    def wake(self) -> None:
        """Have the selector return; nothing happens once this is closed."""
        with self._lock, contextlib.suppress(BlockingIOError):
            if not self._closed:
                os.write(self._waker, b"!")

    def clear(self) -> None:
        """Take note of having been woken."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)

    def close(self) -> None:
        """Wake nobody any more."""
        with self._lock:
            self._closed = True
            os.close(self._woken)
            os.close(self._waker)
