"""Keeps one ssh channel to a far machine alive: frames out, frames in, silence noticed, the channel made anew."""

import contextlib
import os
import queue
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

from . import boot
from .ears import Condition, Ears
from .far.frames import MARKER, Decoder, FrameError, encode
from .ssh import Settings, refusal
from .waker import Waker

# Seconds: between pings, until a silent machine is suspect, until it counts as down.
PING_S = 1.0
SUSPECT_S = 3.0
DOWN_S = 10.0
# Seconds: a channel that was refused is tried again after this long, in case the person has mended it.
REFUSED_RETRY_S = 15.0
# Seconds between attempts at a machine that cannot be reached: the next, and the longest.
_RETRY_S = (0.1, 1.0)
# Seconds that a first handshake may take; later ones get three times what the quickest took, within these bounds.
_HANDSHAKE_S = 10.0
_HANDSHAKE_AGAIN_S = (2.0, 10.0)
# Bytes of chatter before the marker, and of what ssh says on stderr, that are kept.
_CHATTER = 65536
# Bytes that may wait for the channel before a feeder is asked for no more: a ping waits behind them on a slow line.
_AHEAD = 1 << 14


class Line:
    """One channel; everything but `post`, `send` and `close` runs in its own thread.

    Args:
        settings: How the machine is reached.
        ears: Who listens.
    """

    def __init__(self, settings: Settings, ears: Ears) -> None:
        self._settings = settings
        self._ears = ears
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._waker = Waker()
        self._selector.register(self._waker, selectors.EVENT_READ, "waker")
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"line to {settings.host}")
        # When to end the channel though something waits for an answer, on the monotonic clock.
        self._close_by: float | None = None
        self._live = False
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = bytearray()
        self._writing = False
        self._decoder: Decoder | None = None
        self._chatter = b""
        self._stderr = b""
        self._silent_s = 0.0
        # Seconds since the channel, which was full, has taken something.
        self._full_s = SUSPECT_S
        # Silence after which a channel is made anew, until one has answered a ping.
        self._patience_s = SUSPECT_S
        self._ping_in_s = 0.0
        self._wait_s = 0.0
        self._retry_s = _RETRY_S[0]
        self._own = True  # whether the channel gets a connection of its own
        self._opened_at = 0.0
        self._handshake_s: float | None = None
        self._pings: dict[int, float] = {}
        self._n = 0
        self.condition = Condition.CONNECTING
        self.load: dict[str, Any] | None = None
        self.round_trip_s: float | None = None

    def start(self) -> None:
        """Open the channel, and return at once."""
        self._thread.start()

    def post(self, call: Callable[[], None]) -> None:
        """Have something done in the line's thread."""
        self._posted.put(call)
        self._waker.wake()

    def number(self) -> int:
        """A number for a request; in the line's thread."""
        self._n += 1
        return self._n

    def send(self, header: Mapping[str, Any], payload: bytes = b"") -> None:
        """Send a frame, in the line's thread; while the machine is away it is dropped: who needs it says it again."""
        if self._live:
            self._buffer += encode(dict(header), payload)

    @property
    def live(self) -> bool:
        """Whether there is a channel over which frames go now."""
        return self._live

    def close(self, answers_s: float) -> None:
        """End the channel once all that was asked is answered; what runs on the far side goes on.

        Args:
            answers_s: Seconds to wait for answers at most; there is no waiting for a machine that is down.
        """
        if not self._thread.is_alive():
            return

        def closing() -> None:
            self._close_by = time.monotonic() + answers_s

        self.post(closing)
        self._thread.join(answers_s + 3.0)

    def _may_close(self) -> bool:
        if self._close_by is None:
            return False
        away = self.condition in (Condition.DOWN, Condition.REFUSED)
        return away or not self._ears.waits() or time.monotonic() >= self._close_by

    def _run(self) -> None:
        before = time.monotonic()
        try:
            while not self._may_close():
                now = time.monotonic()
                # A machine that slept must not take its own sleep for the other's silence.
                self._tick(min(1.0, now - before))
                before = now
                self._turn()
        except BaseException as error:
            # A mistake in this program: whoever waits for the machine must not wait for ever.
            self._live = False
            self._move(Condition.REFUSED, f"is not followed any more ({type(error).__name__}: {error})")
            raise
        finally:
            self._hang_up()
            self._selector.close()
            self._waker.close()

    def _turn(self) -> None:
        """Wait for what comes first, and deal with it."""
        self._write()
        while self._live and len(self._buffer) < _AHEAD and (more := self._ears.feed()):
            self._buffer += more
            self._write()
        timeout = min(self._ping_in_s, PING_S) if self._process is not None else min(self._wait_s, PING_S)
        if self._close_by is not None:
            timeout = min(timeout, self._close_by - time.monotonic())
        for key, events in self._selector.select(max(0.0, timeout)):
            if key.data == "waker":
                self._waker.clear()
            elif self._process is None:
                break  # what was ready before has ended the channel
            elif key.data == "stdout":
                self._read()
            elif key.data == "stderr":
                self._read_stderr()
            elif events & selectors.EVENT_WRITE:
                self._write()
        while not self._posted.empty():
            self._posted.get()()

    def _tick(self, seconds: float) -> None:
        self._silent_s += seconds
        self._full_s += seconds
        self._ping_in_s -= seconds
        self._wait_s -= seconds
        if self._process is None:
            if self._wait_s <= 0:
                self._dial()
        elif self._ping_in_s <= 0:
            self._ping_in_s = PING_S
            if self._live:
                n = self.number()
                self._pings[n] = time.monotonic()
                self.send({"op": "ping", "n": n})
        if self._process is not None and not self._live and time.monotonic() - self._opened_at > 2 * _HANDSHAKE_S:
            self._hang_up()
            self._own = True
        if self.condition is Condition.REFUSED:
            return
        host = self._settings.host
        if self._silent_s >= DOWN_S:
            self._move(Condition.DOWN, f"has not answered for {DOWN_S:.0f} s ({self._said() or host})")
        elif self._silent_s >= SUSPECT_S and self.condition is Condition.UP:
            self._move(Condition.SUSPECT, f"has not answered for {SUSPECT_S:.0f} s")
        # One that still takes what it is given is slow: what the far side answers is under way behind it.
        takes = self._full_s < SUSPECT_S
        if self._live and self._silent_s >= (DOWN_S if takes else self._patience_s):
            # A new channel finds a way that an old one waits for in vain.
            self._hang_up()
            # Or ssh and the kernel hold what the line takes long for: the next one gets the time.
            self._patience_s = DOWN_S

    def _move(self, condition: Condition, why: str = "") -> None:
        if condition is not self.condition:
            self.condition = condition
            self._ears.condition(condition, why)

    def _dial(self) -> None:
        low, high = _HANDSHAKE_AGAIN_S
        timeout_s = _HANDSHAKE_S if self._handshake_s is None else min(high, max(low, 3 * self._handshake_s))
        self._opened_at = time.monotonic()
        self._decoder, self._chatter, self._stderr, self._live = None, b"", b"", False
        self._full_s = SUSPECT_S
        self._buffer.clear()
        self._pings.clear()
        try:
            self._process = subprocess.Popen(
                self._settings.command(timeout_s, own=self._own),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # Ctrl-C reaches the coordinator alone
            )
        except OSError as error:
            self._wait_s = REFUSED_RETRY_S
            self._move(Condition.REFUSED, f"cannot be reached: {self._settings.ssh[0]} does not start ({error})")
            return
        self._ping_in_s = PING_S
        stdin, stdout, stderr = _streams(self._process)
        for stream in (stdin, stdout, stderr):
            os.set_blocking(stream.fileno(), False)
        self._selector.register(stdout, selectors.EVENT_READ, "stdout")
        self._selector.register(stderr, selectors.EVENT_READ, "stderr")
        self._buffer += boot.payload(self._settings.root)
        self._buffer += encode({**self._ears.hello(), "n": 0})

    def _write(self) -> None:
        if self._process is None:
            return
        stdin, _, _ = _streams(self._process)
        while self._buffer:
            try:
                written = os.write(stdin.fileno(), memoryview(self._buffer)[: 1 << 16])
            except BlockingIOError:
                break
            except OSError:
                self._buffer.clear()  # its end is read on stdout
                break
            del self._buffer[:written]
            if self._writing:
                self._full_s = 0.0
        wants = bool(self._buffer)
        if wants and not self._writing:
            self._selector.register(stdin, selectors.EVENT_WRITE, "stdin")
        elif not wants and self._writing:
            self._selector.unregister(stdin)
        self._writing = wants

    def _read_stderr(self) -> None:
        assert self._process is not None
        _, _, stderr = _streams(self._process)
        with contextlib.suppress(BlockingIOError):
            data = os.read(stderr.fileno(), 65536)
            if data:
                self._stderr = (self._stderr + data)[-_CHATTER:]
            else:
                self._selector.unregister(stderr)

    def _read(self) -> None:
        assert self._process is not None
        try:
            data = os.read(_streams(self._process)[1].fileno(), 1 << 18)
        except BlockingIOError:
            return
        if not data:
            self._ended()
            return
        if self._decoder is None:
            self._chatter += data
            at = self._chatter.find(MARKER)
            if at < 0:
                self._chatter = self._chatter[-_CHATTER:]
                return
            data = self._chatter[at + len(MARKER) :]
            self._decoder = Decoder()
        self._silent_s = 0.0
        if self.condition is Condition.SUSPECT and self._live:
            self._move(Condition.UP)
        try:
            frames = self._decoder.feed(data)
            for header, payload in frames:
                self._heard(header, payload)
        except (FrameError, KeyError, TypeError, ValueError) as error:
            # What another machine sends is read with care, and one that talks nonsense is not talked to.
            self._refuse(f"sent what is not understood: {error}")

    def _heard(self, header: dict[str, Any], payload: bytes) -> None:
        op = header.get("op")
        if op == "pong":
            sent = self._pings.pop(header.get("re", -1), None)
            if sent is not None:
                self.round_trip_s = time.monotonic() - sent
                self._patience_s = SUSPECT_S
            load = header.get("load")
            self.load = load if isinstance(load, dict) else None
        elif op == "hello":
            # The first may have waited for a supervisor to start.
            took_s = time.monotonic() - self._opened_at
            self._handshake_s = min(took_s, self._handshake_s or took_s)
            self._retry_s = _RETRY_S[0]
            self._live = True
            self._ping_in_s = PING_S  # behind what waits to be sent: its answer says that all of that has come
            self._ears.up(header)
            self._move(Condition.UP)
        elif op == "refused":
            self._refuse(str(header.get("message", "refused the channel")))
        else:
            self._ears.heard(header, payload)

    def _refuse(self, why: str) -> None:
        self._hang_up()
        self._wait_s = REFUSED_RETRY_S
        self._move(Condition.REFUSED, why)

    def _ended(self) -> None:
        """The channel has closed."""
        process, was_live = self._process, self._live
        assert process is not None
        with contextlib.suppress(BlockingIOError, OSError):
            self._stderr = (self._stderr + os.read(_streams(process)[2].fileno(), 65536))[-_CHATTER:]
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(0.5)
        self._hang_up()
        refused = None if was_live else refusal(code, self._stderr, self._settings)
        if refused:
            # One that the person has opened to be shared, with a second factor maybe, may be the only one to be had.
            self._own = not self._own
            self._wait_s = REFUSED_RETRY_S if self._own else 0.0
            if self._own:
                self._move(Condition.REFUSED, refused)
            return
        self._wait_s = self._retry_s
        self._retry_s = min(_RETRY_S[1], 2 * self._retry_s)
        if self.condition in (Condition.CONNECTING, Condition.REFUSED):
            # Never seen, and ssh has said what it is: nobody waits for it.
            self._silent_s = DOWN_S
            self._move(Condition.DOWN, f"cannot be reached ({self._said() or 'ssh ended'})")

    def _said(self) -> str:
        """The last line that ssh wrote on stderr."""
        lines = [line.strip() for line in self._stderr.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def _hang_up(self) -> None:
        process, self._process = self._process, None
        self._live = False
        self._decoder = None
        self._buffer.clear()
        self._wait_s = self._retry_s
        if process is None:
            return
        for stream in _streams(process):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(stream)
            with contextlib.suppress(OSError):
                stream.close()
        self._writing = False
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)


def _streams(process: "subprocess.Popen[bytes]") -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    """Its standard input, output and error, which are pipes."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    return process.stdin, process.stdout, process.stderr
