"""Lets every polite way of ending a sweep be the one that Ctrl-C takes."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, Self


class HeldInterrupt:
    """Holds Ctrl-C, a request to end and a terminal that closes until it does no harm to answer them.

    Raised in the midst of something else, an interrupt can be taken for a failure of that, which goes on without it
    (OmegaConf makes it an error of the config), or leave half a file behind.
    """

    def __init__(self) -> None:
        self._asked = False
        self._waits = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                # What whoever started it has it ignore, as nohup does, it goes on to ignore.
                if number is signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _hear(self, *_: Any) -> None:
        self._asked = True
        if self._waits:
            raise KeyboardInterrupt

    def look(self) -> None:
        """Answer what has been asked.

        Raises:
            KeyboardInterrupt: The process was asked to end.
        """
        if self._asked:
            raise KeyboardInterrupt

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A block that does nothing but wait: it is left at once.

        Raises:
            KeyboardInterrupt: See `look`.
        """
        self._waits = True
        try:
            self.look()
            yield
        finally:
            self._waits = False


@contextmanager
def unheard() -> Iterator[None]:
    """Have the processes that are started meanwhile not hear of Ctrl-C, until they call `heard`.

    It reaches the whole group of processes, and one that has only begun would answer it with a traceback.
    """
    # Before Python 3.12 its start would undo the block.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heard() -> None:
    """Hear of Ctrl-C from now on, and of none that came before."""
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, usual)
