"""Runs one job on a far machine and waits for it: what a command asks, rather than a sweep."""

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

from ._ssh import PACKAGES
from ._worker import CONSOLE

# Seconds between two looks at what the job has printed.
_LOOK_S = 0.2


class Errand:
    """A connection to a far machine for the length of one command; a context manager.

    Args:
        reach: How the machine is reached.
        cache: Folder on this machine for what staging remembers.
        timeout_s: Seconds until a machine that does not answer is given up.

    Attributes:
        machine: The machine, with its load, its clock's offset, its root.
    """

    def __init__(self, reach: Settings, cache: Path, timeout_s: float = 20.0) -> None:
        self.machine = Machine(reach, f"command {uuid.uuid4().hex}", self)
        self._cache = cache
        self._timeout_s = timeout_s
        self._ends: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._code: Code | None = None
        self.root = ""

    def open(self) -> None:
        """Connect.

        Raises:
            FarError: The machine cannot be used, or does not answer.
        """
        self.machine.open()
        try:
            self.root = self.machine.wait_up(self._timeout_s)
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
        """What the machine says of its memory, disk and GPUs; waits for its first word.

        Raises:
            FarError: It says nothing.
        """
        deadline = time.monotonic() + self._timeout_s
        while not (load := self.machine.load):
            if time.monotonic() > deadline:
                raise FarError("does not say what it has.")
            time.sleep(_LOOK_S)
        return load

    def run(
        self, entry: str, argument: Mapping[str, Any], python: str, said: Callable[[str], None] = lambda _: None
    ) -> Any:
        """Run a module's `run` there.

        Args:
            entry: Dotted name of the module, of this project.
            argument: What it is given.
            python: The Python that runs it.
            said: Called with what it prints, as it comes.

        Returns:
            What it returned, as data.

        Raises:
            FarError: It could not be run, or did not end well.
            KeyboardInterrupt: The person stopped it; the job is ended there.
        """
        self._code = self._code or Code.collect(Path.cwd(), PACKAGES, cache=self._cache)
        self.machine.stage([self._code.staged()]).result()
        identifier = uuid.uuid4().hex
        environment = {
            "python": python,
            "path": self._code.sys_path(self.root),
            "cwd": self.root,
            "entry": entry,
            "load": None,
            "variables": {},
        }
        spec = {
            "id": identifier,
            "label": entry,
            "environment": environment,
            "argument": dict(argument),
            "live": [CONSOLE],
            "memory_gb": 0.0,
            "gpu_memory_gb": 0.0,
            "gpus": 0,
            "alone": False,
            "timeout_s": None,
            "memory_limit_gb": None,
            "inputs": {},
        }
        with tempfile.TemporaryDirectory() as folder:
            self.machine.submit(spec, Path(folder))
            try:
                ended = self._follow(Path(folder) / CONSOLE, said)
            except BaseException:
                self.machine.cancel([identifier]).result(self._timeout_s)
                raise
            self.machine.settle([identifier]).result(self._timeout_s)
        if ended.error_class is not None:
            raise FarError(f"{ended.message or ended.error_class}.")
        return ended.result

    def _follow(self, console: Path, said: Callable[[str], None]) -> Ended:
        offset = 0
        while True:
            ended = None
            with suppress(queue.Empty):
                ended = self._ends.get(timeout=_LOOK_S)
            with suppress(FileNotFoundError), console.open("rb") as stream:
                stream.seek(offset)
                text = stream.read()
                offset += len(text)
                if text:
                    said(text.decode(errors="replace"))
            if ended is not None:
                return ended

    # ---- see Listener

    def condition(self, condition: Condition, why: str) -> None:
        """See Listener; a command waits for a line that is down."""

    def started(self, identifier: str, at: float) -> None:
        """See Listener."""

    def ended(self, ended: Ended) -> None:
        """See Listener."""
        self._ends.put(ended)

    def unknown(self, identifier: str) -> None:
        """See Listener."""
