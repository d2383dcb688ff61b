"""Adds latency to a connection without taking bandwidth from it: a ProxyCommand for ssh."""

import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable

# Chunks under way in one direction; far more than a connection of 100 ms holds.
_UNDER_WAY = 4096


def _carry(
    read: Callable[[], bytes], write: Callable[[bytes], object], end: Callable[[], object], delay_s: float
) -> None:
    """Pass on what is read as it was read, each byte `delay_s` later, and the end after the last of it."""
    under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(_UNDER_WAY)

    def arrive() -> None:
        while True:
            due, data = under_way.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                end()
                return
            write(data)

    arrival = threading.Thread(target=arrive, daemon=True)
    arrival.start()
    while True:
        try:
            data = read()
        except OSError:
            data = b""
        under_way.put((time.monotonic() + delay_s, data))
        if not data:
            arrival.join()
            return


def main(host: str, port: str, round_trip_ms: str) -> None:
    """Connect standard input and output with a server.

    Args:
        host: The server's name or address.
        port: Its port.
        round_trip_ms: What a round trip takes in addition, in milliseconds.
    """
    delay_s = float(round_trip_ms) / 2000
    # A handshake is a round trip.
    time.sleep(2 * delay_s)
    server = socket.create_connection((host, int(port)))
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    there = threading.Thread(
        target=_carry,
        args=(lambda: os.read(0, 65536), server.sendall, lambda: server.shutdown(socket.SHUT_WR), delay_s),
        daemon=True,
    )
    there.start()
    _carry(lambda: server.recv(65536), lambda data: _write(1, data), lambda: None, delay_s)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


if __name__ == "__main__":
    main(*sys.argv[1:])
