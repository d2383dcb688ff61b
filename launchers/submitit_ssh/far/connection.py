"""One near side's connection: writes as fast as it reads, and draws outputs from the disk only when it has room."""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from .frames import CHUNK, Decoder, Frame, encode
from .out_files import Stamp
from .store import Upload

# Bytes that wait to be written: outputs are drawn below the first, requests are read below the second.
_ROOM = 1 << 19
_FULL = 1 << 22
# Bytes that are written in one turn, so that a fast reader does not keep the others waiting.
_TURN = 1 << 22


class Connection:
    """One connection.

    Args:
        channel: Its socket.
        ready: Called with this and the events when it can be read or written.

    Attributes:
        owner: Whose it is; empty until it has said hello.
        offsets: By id of each job that it has named, how many bytes it has of each file that grows.
        kept: By id, which versions it has of the files in folders that are kept.
        uploads: What it is staging.
        named: Hashes of what it has staged, or has asked for.
        patience_s: Seconds of silence after which it is given up, as its other side has asked; None for never.
        silent_s: Seconds since it said anything.
    """

    def __init__(self, channel: socket.socket, ready: Callable[[Connection, int], None]) -> None:
        channel.setblocking(False)
        self.channel = channel
        self.ready: Callable[[int], None] = lambda events: ready(self, events)
        self.owner = ""
        self.offsets: dict[str, dict[str, int]] = {}
        self.kept: dict[str, dict[str, Stamp]] = {}
        self.uploads: dict[tuple[str, str], Upload] = {}
        self.named: set[str] = set()
        self.patience_s: float | None = None
        self.silent_s = 0.0
        self.closed = False
        self._deaf = False
        self._decoder = Decoder()
        self._out = bytearray()
        # By job: what is still to be sent of those that have ended.
        self._ends: OrderedDict[str, Iterator[bytes]] = OrderedDict()
        # By job: what may wait until there is nothing else to say.
        self._behind: OrderedDict[str, Iterator[bytes]] = OrderedDict()

    def read(self) -> list[Frame] | None:
        """What has come; None where the other side has closed.

        Raises:
            FrameError: It talks nonsense.
        """
        try:
            data = self.channel.recv(1 << 18)
        except BlockingIOError:
            return []
        except OSError:
            return None
        self.silent_s = 0.0
        return self._decoder.feed(data) if data else None

    def waited(self, seconds: float) -> bool:
        """Note that time has passed; whether it has been silent for too long, though it was listened to."""
        self.silent_s += seconds if self.takes else 0.0
        return self.patience_s is not None and self.silent_s > self.patience_s

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Say something, behind what has been said; outputs of jobs that have ended wait for it."""
        self.push(encode(header, payload))

    def push(self, frame: bytes) -> None:
        """Say what is a frame already."""
        if not (self.closed or self._deaf):
            self._out += frame

    def send_end(self, identifier: str, frames: Iterator[bytes]) -> None:
        """Send the outputs and the end of a job, bit by bit; replaces what was under way for it."""
        self.drop(identifier)
        if not self._deaf:
            self._ends[identifier] = frames

    def send_behind(self, identifier: str, frames: Iterator[bytes]) -> None:
        """Send what a running job keeps, bit by bit, each when there is nothing else to send."""
        if not self._deaf:
            self._behind[identifier] = frames

    def sends_behind(self, identifier: str) -> bool:
        """Whether some of that is still to be sent."""
        return identifier in self._behind

    def drop(self, identifier: str) -> None:
        """Send no more of what a job keeps, nor of its end."""
        self._behind.pop(identifier, None)
        self._ends.pop(identifier, None)

    def follow(self, identifier: str, offsets: dict[str, int]) -> None:
        """Begin with a job anew, behind what the other side has of its files that grow."""
        self.drop(identifier)
        self.offsets[identifier] = offsets
        self.kept[identifier] = {}

    def forget(self, identifier: str) -> None:
        """Have no more to do with a job."""
        self.drop(identifier)
        self.offsets.pop(identifier, None)
        self.kept.pop(identifier, None)

    @property
    def room(self) -> bool:
        """Whether what a job prints may be sent now."""
        return len(self._out) < _ROOM

    @property
    def takes(self) -> bool:
        """Whether it may ask more: not while it does not read the answers."""
        return len(self._out) < _FULL

    def write(self) -> bool:
        """Write what the other side takes; one that hears nothing any more may still have said something.

        Returns:
            Whether there is more to write.
        """
        written = 0
        while written < _TURN:
            self._draw()
            if not self._out:
                return False
            try:
                size = self.channel.send(memoryview(self._out)[:CHUNK])
            except BlockingIOError:
                return True
            except OSError:
                self._deaf = True
                self._out.clear()
                self._ends.clear()
                self._behind.clear()
                return False
            del self._out[:size]
            written += size
        return True

    def close(self) -> None:
        """Hang up; what was coming in is forgotten."""
        self.closed = True
        self.channel.close()
        self._ends.clear()
        self._behind.clear()
        for upload in self.uploads.values():
            upload.drop()

    def _draw(self) -> None:
        while self._ends and len(self._out) < _ROOM:
            identifier = next(iter(self._ends))
            frame = next(self._ends[identifier], None)
            if frame is None:
                del self._ends[identifier]
            else:
                self._out += frame
        # One at a time: what jobs print, their ends, answers wait for no more than that.
        while self._behind and not self._out:
            identifier = next(iter(self._behind))
            frame = next(self._behind[identifier], None)
            if frame is None:
                del self._behind[identifier]
            else:
                self._out += frame
