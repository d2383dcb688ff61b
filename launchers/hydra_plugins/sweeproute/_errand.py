"""Runs jobs on a far machine for a command that waits for each, rather than for a sweep."""

import queue
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from submitit_ssh.errors import FarError
from submitit_ssh.line import Condition
from submitit_ssh.machine import Ended, Machine
from submitit_ssh.ssh import Settings
from submitit_ssh.staging import Code

from ._pending import PendingCancels
from ._records import cache_dir
from ._worker import CONSOLE

# What the far side needs of this project for an errand: never the person's own code.
_PACKAGES = ("hydra_plugins.sweeproute", "submitit_ssh")
# Seconds between two looks at what the job has printed, and until a job that has not started is worth a word.
_LOOK_S = 0.1
_PATIENCE_S = 1.5
# Seconds that a command waits at its end for a machine that does not answer.
_FORGET_S = 5.0
_LOADING = "its environment is being loaded"


class Errand:
    """A connection to a far machine for the length of one command; a context manager.

    Args:
        platform: The machine's name in the registry.
        reach: How it is reached.
        notes: Called with what the person waits for, in a sentence.
        timeout_s: Seconds until a machine that does not answer is given up.
        delivers: Whether it cancels at once what could not be cancelled before.

    Attributes:
        machine: The machine, with its clock's offset and its round trip.
        root: The folder there in which everything is kept.
    """

    def __init__(
        self,
        platform: str,
        reach: Settings,
        notes: Callable[[str], None] = lambda _: None,
        timeout_s: float = 20.0,
        delivers: bool = True,
    ) -> None:
        self.machine = Machine(reach, f"command {uuid.uuid4().hex}", self)
        self.root = ""
        self._platform = platform
        self._pending = PendingCancels(platform, reach.host)
        self._notes = notes
        self._timeout_s = timeout_s
        self._delivers = delivers
        self._heard: queue.SimpleQueue[Ended | str] = queue.SimpleQueue()
        self._started: set[str] = set()
        self._code: Code | None = None

    def open(self) -> None:
        """Connect, and say what could not be said to the machine before.

        Raises:
            FarError: The machine cannot be used, or does not answer.
        """
        self.machine.open()
        try:
            self.root = self.machine.wait_up(self._timeout_s)
            if self._delivers:
                self._pending.deliver(self.machine)
        except BaseException:
            self.machine.close()
            raise

    def close(self) -> None:
        """Hang up."""
        self.machine.close()

    def __enter__(self) -> "Errand":
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self) -> Mapping[str, Any]:
        """What the machine says of its memory, disk and slots; waits for its first word.

        Raises:
            FarError: It says nothing.
        """
        deadline = time.monotonic() + self._timeout_s
        while not (load := self.machine.load):
            if time.monotonic() > deadline:
                raise FarError("does not say what it has.")
            time.sleep(_LOOK_S)
        return load

    def ask(self, op: str, *, answers_s: float | None = None, **fields: Any) -> Mapping[str, Any]:
        """Ask the machine anything.

        Args:
            op: See `Machine.request`.
            answers_s: Seconds that it has to answer; None are those of this connection.
            fields: See `Machine.request`.

        Raises:
            FarError: It has refused, or does not answer.
        """
        seconds = self._timeout_s if answers_s is None else answers_s
        try:
            return self.machine.request(op, **fields).result(seconds)
        except TimeoutError:
            raise FarError(f"has not answered within {seconds:g} s.") from None

    def run(
        self,
        entry: str,
        argument: Mapping[str, Any],
        python: str,
        said: Callable[[str], None] = lambda _: None,
        gpus: int = 0,
    ) -> Any:
        """Run a module's `run` there, ahead of all that waits in the machine's queue.

        Args:
            entry: Dotted name of the module, of this project.
            argument: What it is given.
            python: The Python that runs it.
            said: Called with what it prints, as it comes.
            gpus: How many it may use.

        Returns:
            What it returned, as data.

        Raises:
            FarError: It could not be run, or did not end well.
            KeyboardInterrupt: The person stopped it; the job is ended there.
        """
        if self._code is None:
            self._code = Code.collect(None, _PACKAGES, cache=cache_dir() / "staging")
        self.machine.stage([self._code.staged()]).result()
        identifier = uuid.uuid4().hex
        spec = {
            "id": identifier,
            "label": entry.rpartition(".")[2].removeprefix("_far_"),
            "environment": {
                "python": python,
                "path": self._code.sys_path(self.root),
                "cwd": self.root,
                "entry": entry,
                "load": None,
                "variables": {},
            },
            "argument": dict(argument),
            "live": [CONSOLE],
            "gpus": gpus,
        }
        with tempfile.TemporaryDirectory() as folder:
            self.machine.submit(spec, Path(folder))
            try:
                ended = self._follow(identifier, Path(folder) / CONSOLE, said)
            finally:
                # What still runs is ended by this, too.
                self._forget(identifier)
        if ended.error_class is not None:
            raise FarError(f"{_short(ended.message) or ended.error_class}.")
        return ended.result

    def _follow(self, identifier: str, console: Path, said: Callable[[str], None]) -> Ended:
        offset, last, began, moved = 0, "", time.monotonic(), False
        while True:
            ended = None
            with suppress(queue.Empty):
                heard = self._heard.get(timeout=_LOOK_S)
                if isinstance(heard, str):
                    self._notes(heard)
                else:
                    ended = heard
            with suppress(FileNotFoundError), console.open("rb") as stream:
                stream.seek(offset)
                text = stream.read()
                offset += len(text)
                if text:
                    said(text.decode(errors="replace"))
            if ended is not None:
                return ended
            if identifier not in self._started and time.monotonic() - began > _PATIENCE_S:
                if not moved:
                    moved = True
                    self._move_up(identifier)
                waits = str((self.machine.load or {}).get("waits") or "")
                if waits not in ("", last, _LOADING):
                    last = waits
                    self._notes(f"Waits, since {waits}. Ctrl-C ends this.")

    def _move_up(self, identifier: str) -> None:
        """Let a job wait for a free slot alone, and not for a night's queue."""

        def answered(future: Any) -> None:
            if future.cancelled() or future.exception() is not None:
                return
            queued = [job["id"] for job in future.result()["jobs"] if job["state"] == "queued"]
            if identifier in queued[1:]:
                self.machine.request("order", ids=[identifier, *(one for one in queued if one != identifier)])

        self.machine.request("status").add_done_callback(answered)

    def _forget(self, identifier: str) -> None:
        """Have a job ended, and forgotten; what cannot be said now is said at the next contact."""
        try:
            self.machine.settle([identifier]).result(_FORGET_S)
        except (TimeoutError, FarError):
            self._pending.keep([identifier])

    # ---- see Listener; in the machine's thread

    def condition(self, condition: Condition, why: str) -> None:
        """See Listener; a command waits for a line that is down."""
        if self.root and condition in (Condition.DOWN, Condition.REFUSED):
            self._heard.put(f"{self._platform} {why}. What was begun there goes on; this waits for the line.")

    def started(self, identifier: str, at: float) -> None:  # noqa: ARG002
        """See Listener."""
        self._started.add(identifier)

    def ended(self, ended: Ended) -> None:
        """See Listener."""
        self._heard.put(ended)

    def unknown(self, identifier: str) -> None:
        """See Listener."""
        now = time.time()
        self._heard.put(Ended(identifier, "lost", "the machine does not know the job any more", None, 0.0, now, now))


def _short(message: str) -> str:
    """The first line of a message, with the last one, where that is not what the first has said already."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    more = f" ({lines[-1]})" if len(lines) > 1 and lines[-1] not in lines[0] else ""
    return f"{lines[0]}{more}" if lines else ""
