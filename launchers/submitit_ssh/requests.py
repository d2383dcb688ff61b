"""Numbers what is asked of a far machine, and asks again on a new channel what is not answered."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from .errors import FarError
from .far.frames import encode
from .line import Line

Answered = Callable[[dict[str, Any], bytes], None]


@dataclass(eq=False)
class _Request:
    """A request that is said again until it is answered."""

    header: dict[str, Any]
    future: "Future[dict[str, Any]]"


class Requests:
    """The requests of one machine; everything runs in the line's thread.

    Args:
        line: The channel.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._open: list[_Request] = []
        self._asked: dict[int, Answered] = {}

    def add(self, header: Mapping[str, Any], future: "Future[dict[str, Any]]") -> None:
        """Ask until there is an answer.

        Args:
            header: The request.
            future: Gets the answer, its raw bytes under "payload"; a FarError where it is a refusal.
        """
        request = _Request(dict(header), future)
        self._open.append(request)
        if self._line.live:
            self._ask(request)

    @property
    def open(self) -> bool:
        """Whether something has been asked that is asked until it is answered, and is not yet."""
        return bool(self._open)

    def restart(self) -> None:
        """Ask again, in order: what was on the way on the old channel may have been lost."""
        self._asked.clear()
        for request in self._open:
            self._ask(request)

    def answered(self, header: dict[str, Any], payload: bytes) -> None:
        """Take an answer; one to a question of an older channel means nothing any more."""
        answered = self._asked.pop(header["re"], None)
        if answered is not None:
            answered(header, payload)

    def numbered(self, header: Mapping[str, Any], answered: Answered) -> dict[str, Any]:
        """A request that is asked once, on this channel.

        Args:
            header: The request.
            answered: Called with its answer.

        Returns:
            The header with its number.
        """
        n = self._line.number()
        self._asked[n] = answered
        return {**header, "n": n}

    def framed(self, header: Mapping[str, Any], answered: Answered, payload: bytes = b"") -> bytes:
        """The same as bytes, with raw ones behind it."""
        return encode(self.numbered(header, answered), payload)

    def _ask(self, request: _Request) -> None:
        def answered(answer: dict[str, Any], payload: bytes) -> None:
            self._open.remove(request)
            if not request.future.set_running_or_notify_cancel():
                return
            if answer.get("op") == "error":
                request.future.set_exception(FarError(str(answer.get("message"))))
            else:
                request.future.set_result({**answer, "payload": payload} if payload else answer)

        self._line.send(self.numbered(request.header, answered))
