"""The framing of what two machines say to each other: a line of JSON, with raw bytes behind it where it names some."""

from __future__ import annotations

import json
from typing import Any

PROTOCOL = 1
# What the far side says first; login shells may chatter before it.
MARKER = b"sweeproute-far 1\n"
# Bytes: what comes from another machine is read with limits.
HEADER_LIMIT = 4 << 20
PAYLOAD_LIMIT = 1 << 20
# Bytes of a file in one frame.
CHUNK = 1 << 18

Frame = tuple[dict[str, Any], bytes]


class FrameError(ValueError):
    """Bytes that are no frame, or a frame that is larger than allowed."""


def encode(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """One frame as bytes.

    Args:
        header: What JSON can hold; the key `bytes` is set here where there is a payload.
        payload: Raw bytes that belong to it.

    Raises:
        FrameError: It is larger than the other side would read.
    """
    if payload:
        header = {**header, "bytes": len(payload)}
    line = json.dumps(header, separators=(",", ":")).encode() + b"\n"
    if len(line) > HEADER_LIMIT or len(payload) > PAYLOAD_LIMIT:
        raise FrameError(
            f"a frame of {len(line)} bytes and {len(payload)} behind it is too large: "
            f"at most {HEADER_LIMIT} and {PAYLOAD_LIMIT} are allowed"
        )
    return line + payload


class Decoder:
    """Makes frames of bytes that come in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._header: dict[str, Any] | None = None
        self._size = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes.

        Args:
            data: As they came.

        Returns:
            The frames that are complete with them.

        Raises:
            FrameError: They are no frames; nothing that follows can be understood.
        """
        self._buffer += data
        frames: list[Frame] = []
        at = 0
        while True:
            if self._header is None:
                end = self._buffer.find(b"\n", max(at, self._searched))
                if (end if end >= 0 else len(self._buffer)) - at >= HEADER_LIMIT:
                    raise FrameError(f"a header is longer than {HEADER_LIMIT} bytes")
                if end < 0:
                    break
                self._header, self._size = _header(bytes(self._buffer[at:end]))
                at = end + 1
            if len(self._buffer) - at < self._size:
                break
            frames.append((self._header, bytes(self._buffer[at : at + self._size])))
            at += self._size
            self._header = None
        del self._buffer[:at]
        # A long line that comes in many pieces is not searched from its start for each of them.
        self._searched = len(self._buffer) if self._header is None else 0
        return frames


def _header(line: bytes) -> tuple[dict[str, Any], int]:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"{line[:80]!r} is no JSON ({error})") from None
    if not isinstance(header, dict):
        raise FrameError(f"{line[:80]!r} is no object")
    size = header.get("bytes", 0)
    if type(size) is not int or not 0 <= size <= PAYLOAD_LIMIT:
        raise FrameError(f"a payload of {size!r:.80} bytes: 0 to {PAYLOAD_LIMIT} are allowed")
    return header, size
