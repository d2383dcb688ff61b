"""Talks with the program that keeps a sweep's coordinator on a far machine."""

import contextlib
import json
import os
import selectors
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from submitit_ssh.errors import FarError
from submitit_ssh.far.frames import MARKER, Decoder, FrameError
from submitit_ssh.outputs import Outputs
from submitit_ssh.ssh import Settings, refusal

# Seconds until a machine counts as out of reach, unless whoever asks has more patience.
PATIENCE_S = 10.0
# Seconds that a channel has to end by itself.
_HANGS_UP_S = 1.0
# Bytes of a login shell's chatter before the first word.
_CHATTER = 1 << 16
_PIECE = 1 << 16
# GB that may come home in one go.
_LIMIT_GB = 1000.0
# The program, each part after those that it imports.
_PARTS = ("_far_coordinator", "_far_files", "_far_keeper")
# What is done first, in the place of the loader's one line: `i` is standard input.
_PROGRAM = """
import json, sys, types, zlib
data = b""
while len(data) < SIZE:
    more = i.read(SIZE - len(data))
    if not more:
        sys.exit(0)
    data += more
sys.modules["far"] = types.ModuleType("far")
for name, text in json.loads(zlib.decompress(data)):
    module = sys.modules["far." + name] = types.ModuleType("far." + name)
    module.__package__ = "far"
    exec(compile(text, name, "exec"), module.__dict__)
module.main(i)
"""


class RefusedThereError(FarError):
    """A machine has answered that it does not do what was asked."""


class FarSweep:
    """A channel to the machine on which a sweep's coordinator is, or is to be; a context manager.

    Args:
        reach: How the machine is reached.
        identifier: The sweep's id.
        patience_s: Seconds of silence after which it counts as out of reach.
    """

    def __init__(self, reach: Settings, identifier: str, patience_s: float = PATIENCE_S) -> None:
        self._reach = reach
        self._asked = {"id": identifier, "root": reach.root}
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None
        self._decoder: Decoder | None = None
        self._chatter = b""
        self._frames: list[tuple[dict[str, Any], bytes]] = []

    def __enter__(self) -> "FarSweep":
        """Start to connect; whether that works is seen when something is asked."""
        parts = [(name, Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")) for name in _PARTS]
        source = zlib.compress(json.dumps(parts).encode(), 9)
        program = f"SIZE = {len(source)}{_PROGRAM}"
        # Never read here until the channel ends: a pipe that is full would hold ssh up.
        self._stderr = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                self._reach.command(self._patience_s),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            self._stderr.close()
            raise FarError(f"{self._reach.host} cannot be reached: ssh does not start ({error}).") from None
        self._unsent = bytearray(b"exec(" + ascii(program).encode() + b")\n" + source)
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up; the coordinator goes on."""
        assert self._process is not None
        assert self._process.stdin is not None
        # Others may share this connection: it ends by itself where it can.
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_HANGS_UP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._stderr.close()

    def ask(
        self, op: str, *, patience_s: float | None = None, payload: bytes = b"", **fields: Any
    ) -> Mapping[str, Any]:
        """Ask for one answer.

        Args:
            op: look, start, stop, pause, remove or read.
            patience_s: Seconds that it may take; None are those of this channel.
            payload: Raw bytes that go with it.
            fields: What goes with it.

        Returns:
            The answer; raw bytes of it under "payload".

        Raises:
            FarError: The machine is out of reach, or has refused.
        """
        self._send(op, payload, fields)
        header, data = self._answer(patience_s)
        return {**header, "payload": data}

    def pull(self, folder: Path, came: Callable[[Path], None], *, everything: bool) -> Mapping[str, Any]:
        """Bring what has changed of the sweep's folder into a folder here, and nowhere else.

        Args:
            folder: The sweep's folder here; made where it is missing.
            came: Called with each file that has come, and may change it in its place.
            everything: Whether all of it comes, or only the records of the sweep and of its jobs.

        Returns:
            files: how many came; alive: whether the coordinator lives; left_out: what has not come, a clause each.

        Raises:
            FarError: The machine is out of reach, or has refused, or what it sends cannot be written here.
        """
        folder.mkdir(parents=True, exist_ok=True)
        outputs = Outputs(folder, _LIMIT_GB, frozenset())
        self._send("pull", json.dumps(_have(folder)).encode(), {"all": everything})
        barred: list[str] = []
        try:
            while True:
                header, data = self._answer()
                if header["op"] != "file":
                    break
                name = str(header["path"])
                if _is_barred(folder, name):
                    barred += [f"{name!r:.200} is this machine's own"] * (name not in barred)
                    continue
                outputs.write(name, int(header["offset"]), data, bool(header["last"]))
                if header["last"] and (folder / name).is_file():
                    came(folder / name)
                    # Last: what has no time of over there is sent again.
                    stamp = int(header["mtime_ns"])
                    os.utime(folder / name, ns=(stamp, stamp), follow_symlinks=False)
        finally:
            problem = outputs.close()
        if problem:
            raise FarError(f"{self._reach.host}: {problem}.")
        return {**header, "left_out": [*outputs.left_out, *barred]}

    def _send(self, op: str, payload: bytes, fields: Mapping[str, Any]) -> None:
        header = {**self._asked, **fields, "op": op, **({"bytes": len(payload)} if payload else {})}
        self._unsent += json.dumps(header).encode() + b"\n" + payload

    def _answer(self, patience_s: float | None = None) -> tuple[dict[str, Any], bytes]:
        """The next frame.

        Raises:
            FarError: There is none, or it is a refusal.
        """
        until = time.monotonic() + (self._patience_s if patience_s is None else patience_s)
        while not self._frames:
            self._move(until)
        header, data = self._frames.pop(0)
        if header.get("op") == "refused":
            raise RefusedThereError(f"{self._reach.host} {header.get('message')}.")
        return header, data

    def _move(self, until: float) -> None:
        """Send and receive what there is."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if self._unsent:
                os.set_blocking(process.stdin.fileno(), False)
                selector.register(process.stdin, selectors.EVENT_WRITE)
            ready = selector.select(max(0.0, until - time.monotonic()))
        if not ready:
            raise FarError(f"{self._reach.host} has not answered in time; the line, or the machine, may be down.")
        for key, _ in ready:
            if key.fileobj is process.stdin:
                try:
                    del self._unsent[: os.write(process.stdin.fileno(), bytes(self._unsent[:_PIECE]))]
                except BlockingIOError:
                    continue
                except OSError:
                    self._unsent.clear()  # its end is read on stdout
            else:
                data = os.read(process.stdout.fileno(), 1 << 18)
                if not data:
                    raise FarError(self._ended())
                self._take(data)

    def _take(self, data: bytes) -> None:
        if self._decoder is None:
            self._chatter += data
            at = self._chatter.find(MARKER)
            if at < 0:
                self._chatter = self._chatter[-_CHATTER:]
                return
            self._decoder, data = Decoder(), self._chatter[at + len(MARKER) :]
        try:
            self._frames += self._decoder.feed(data)
        except FrameError as error:
            raise FarError(f"{self._reach.host} sent what is not understood: {error}.") from None

    def _ended(self) -> str:
        """Why the channel has ended, in a sentence."""
        assert self._process is not None
        code = self._process.wait()
        self._stderr.seek(0)
        said = self._stderr.read()[-_CHATTER:]
        if why := refusal(code, said, self._reach):
            return f"{self._reach.host} {why}."
        lines = said.decode(errors="replace").strip().splitlines()
        return f"{self._reach.host} cannot be reached ({lines[-1].strip() if lines else 'ssh ended'})."


def _have(folder: Path) -> dict[str, list[int]]:
    """Size and time of each file that is here."""
    found = {}
    for path in _walk(folder):
        status = path.lstat()
        found[path.relative_to(folder).as_posix()] = [status.st_size, status.st_mtime_ns]
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)


def _is_barred(folder: Path, name: str) -> bool:
    """Whether a path is one that a far machine may not write: our own locks and notes, or what a link here leads to."""
    from ._far_files import OWN, STAYS

    first, _, rest = name.casefold().partition("/")
    if first == OWN and rest in STAYS:
        return True
    path = folder
    for part in name.split("/"):
        path = path / part
        if path.is_symlink():
            return True
    return False
