"""Asks a study for its next point in a thread beside the event loop's."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from ._share import Share

if TYPE_CHECKING:
    from ._study import Proposal


class SamplerThread:
    """One study is asked at a time; while one is, no study may be touched, since all lie in one log.

    Args:
        abandon: Has the log take no more from the thread: called where nobody waits for it any longer, so that whoever
            goes on with the sweep finds one writer.
    """

    def __init__(self, abandon: Callable[[], None]) -> None:
        self._abandon = abandon
        self._pool = ThreadPoolExecutor(1, "sampler")
        self._asked: tuple[Share, Future[Proposal | None]] | None = None

    @property
    def asked(self) -> bool:
        """Whether there is an answer to be taken, or one to come."""
        return self._asked is not None

    @property
    def busy(self) -> bool:
        """Whether the answer is still to come."""
        return self._asked is not None and not self._asked[1].done()

    def ask(self, share: Share) -> None:
        """Ask a study; `answer` has to be called before the next."""
        self._asked = share, self._pool.submit(share.study.ask)

    def wait(self) -> None:
        """Wait until the answer is there."""
        if self._asked is not None:
            wait([self._asked[1]])

    def answer(self) -> "tuple[Share, Proposal | None]":
        """Take the answer, with the study that was asked; what asking has raised is raised here."""
        assert self._asked is not None
        (share, found), self._asked = self._asked, None
        return share, found.result()

    def close(self, *, stopped: bool) -> None:
        """End the thread, once it has its answer.

        Args:
            stopped: Whether a person waits for that, who has stopped the sweep: it is said, and a second Ctrl-C leaves
                the answer where it is.
        """
        if stopped and self.busy:
            print("The sampler is at work on its next point; Ctrl-C again does not wait for it.", flush=True)
        try:
            self._pool.shutdown()
        except BaseException:
            self._abandon()
            raise
