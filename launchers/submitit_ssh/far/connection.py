"""One near side's connection: writes as fast as it reads, and draws outputs from the disk only when it has room."""

from __future__ import annotations

import os
import socket
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from .frames import CHUNK, Decoder, Frame, encode
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

    def drop(self, identifier: str) -> None:
        """Send no more of a job's end."""
        self._ends.pop(identifier, None)

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
                return False
            del self._out[:size]
            written += size
        return True

    def close(self) -> None:
        """Hang up; what was coming in is forgotten."""
        self.closed = True
        self.channel.close()
        self._ends.clear()
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


def growth(identifier: str, out: Path, live: Iterable[str], offsets: dict[str, int]) -> Iterator[bytes]:
    """Frames with what has been appended to the files that grow.

    Args:
        identifier: The job's id.
        out: Its output folder.
        live: Files that grow.
        offsets: Bytes of each that the other side has; updated.
    """
    for name in live:
        at = offsets.get(name, 0)
        for piece, _ in _pieces(out / name, at):
            if piece:
                header = {"op": "output", "id": identifier, "path": name, "offset": at, "last": False}
                at += len(piece)
                offsets[name] = at
                yield encode(header, piece)


def whole(identifier: str, out: Path, live: Iterable[str]) -> Iterator[bytes]:
    """Frames with every file that does not grow; links and what is no file are left out.

    Args:
        identifier: The job's id.
        out: Its output folder.
        live: Files that grow.
    """
    skipped = set(live)
    for path in _files(str(out)):
        name = path[len(str(out)) + 1 :]
        if name not in skipped:
            at = 0
            for piece, last in _pieces(Path(path), 0):
                yield encode({"op": "output", "id": identifier, "path": name, "offset": at, "last": last}, piece)
                at += len(piece)


def _files(folder: str) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        elif entry.is_file(follow_symlinks=False):
            yield entry.path


def _pieces(path: Path, offset: int) -> Iterator[tuple[bytes, bool]]:
    """Pieces of a file from an offset on, and whether each is the last; one that is empty where there is nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return
        piece = os.pread(descriptor, CHUNK, offset)
        while True:
            offset += len(piece)
            following = os.pread(descriptor, CHUNK, offset) if len(piece) == CHUNK else b""
            yield piece, not following
            if not following:
                return
            piece = following
    except OSError:
        return  # the disk does not give it
    finally:
        os.close(descriptor)
