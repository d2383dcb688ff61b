"""Brings content to a far machine: only what is missing there travels, a window of pieces ahead of the answers."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from .errors import FarError
from .line import Line
from .requests import Answered
from .staging import Staged

# Bytes of one piece: what a ping waits for on a slow line, and what is answered before the line seems to be silent.
_PIECE = 1 << 15
# Pieces that may be under way without an answer: at least, at first, at most.
_WINDOW = (2, 16, 128)
# Seconds after which an answer is late: the line is slow, and what is asked meanwhile waits for all that is under way.
_LATE_S = 1.0

Framed = Callable[[Mapping[str, Any], Answered, bytes], bytes]


@dataclass(eq=False)
class _Upload:
    """Objects that are wanted there; `then` is answered when all of them are."""

    objects: list[Staged]
    then: "Future[None]"
    missing: deque[Staged] = field(default_factory=deque)


class Uploads:
    """Content on its way to one machine; everything runs in the line's thread.

    Args:
        line: The channel.
        framed: Makes a request of a header, of what is called with its answer, and of raw bytes.
    """

    def __init__(self, line: Line, framed: Framed) -> None:
        self._line = line
        self._framed = framed
        self._uploads: list[_Upload] = []
        self._pieces: Iterator[bytes] | None = None
        self._reading: Staged | None = None
        self._under_way = 0
        self._window = _WINDOW[1]
        self._asks: deque[_Upload] = deque()

    def add(self, objects: Sequence[Staged], then: "Future[None]") -> None:
        """Have objects there.

        Args:
            objects: Files and trees.
            then: Done when all of them are there; a FarError where one cannot be stored.
        """
        upload = _Upload(list(objects), then)
        self._uploads.append(upload)
        self._asks.append(upload)

    def restart(self) -> None:
        """Begin again on a new channel: what was under way on the old one may have been lost."""
        self._pieces, self._under_way, self._window = None, 0, _WINDOW[1]
        self._asks = deque(self._uploads)
        for upload in self._uploads:
            upload.missing.clear()

    def chunk(self) -> bytes | None:
        """The next bytes to send; None where there is nothing, or enough is under way."""
        if self._asks:
            return self._ask(self._asks.popleft())
        while self._under_way < self._window:
            if self._pieces is None:
                one = next((upload.missing[0] for upload in self._uploads if upload.missing), None)
                if one is None:
                    return None
                self._pieces, self._reading = self._read(one), one
            assert self._reading is not None
            try:
                piece = next(self._pieces, None)
            except OSError as error:
                self._fail(self._reading, str(error))
                continue
            if piece is not None:
                return piece
            self._pieces = None
            self._sent()
        return None

    def _ask(self, upload: _Upload) -> bytes:
        shas: dict[str, list[str]] = {"store": [], "trees": []}
        for one in upload.objects:
            shas[one.kind].append(one.sha)

        def answered(answer: dict[str, Any], _: bytes) -> None:
            gone = {(kind, sha) for kind in shas for sha in answer.get(kind, ())}
            upload.missing = deque(
                {(one.kind, one.sha): one for one in upload.objects if (one.kind, one.sha) in gone}.values()
            )
            upload.objects = list(upload.missing)
            self._settle(upload)

        return self._framed({"op": "missing", **shas}, answered, b"")

    def _read(self, one: Staged) -> Iterator[bytes]:
        with one.open() as stream:
            offset = 0
            while True:
                piece = stream.read(_PIECE)
                if not piece and offset < one.size:
                    raise OSError(f"{one.kind} {one.sha} has {offset} of its {one.size} bytes only: it was cut")
                header = {"op": "put", "sha": one.sha, "kind": one.kind, "offset": offset, "size": one.size}
                offset += len(piece)
                self._under_way += 1
                yield self._framed(header, self._stored(one, last=offset >= one.size), piece)
                if offset >= one.size:
                    return

    def _sent(self) -> None:
        """The first missing object has been read to its end: the next may be sent before its answer comes."""
        for upload in self._uploads:
            if upload.missing:
                upload.missing.popleft()
                return

    def _stored(self, one: Staged, last: bool) -> Answered:
        began = time.monotonic()

        def answered(answer: dict[str, Any], _: bytes) -> None:
            self._under_way -= 1
            if not last:  # else it may have waited for an unpacking
                late = time.monotonic() - began > _LATE_S
                least, most = _WINDOW[0], _WINDOW[2]
                self._window = max(least, self._window // 2) if late else min(most, self._window + 1)
            if answer.get("op") == "error":
                self._fail(one, str(answer.get("message")))
            elif last:
                for upload in [upload for upload in self._uploads if one in upload.objects]:
                    upload.objects.remove(one)
                    self._settle(upload)

        return answered

    def _fail(self, one: Staged, why: str) -> None:
        """Give up on whatever needs an object."""
        self._pieces = None
        for upload in [upload for upload in self._uploads if one in upload.objects]:
            self._uploads.remove(upload)
            if upload.then.set_running_or_notify_cancel():
                upload.then.set_exception(FarError(why))

    def _settle(self, upload: _Upload) -> None:
        if not upload.objects and upload in self._uploads:
            self._uploads.remove(upload)
            if upload.then.set_running_or_notify_cancel():
                upload.then.set_result(None)
