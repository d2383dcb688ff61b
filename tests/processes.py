"""Runs commands for a test, some of them for as long as the test runs."""

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

# Root's own commands are not on everybody's path.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_GIVE_UP_S = 20


class CommandError(Exception):
    """A command that a test needs failed."""


def do(*command: str, stdin: str = "") -> str:
    """Run a command that has to work.

    Args:
        command: The program and its arguments.
        stdin: What it reads.

    Returns:
        What it wrote to its standard output.

    Raises:
        CommandError: It failed; with what it said.
    """
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env={"PATH": PATH})
    if done.returncode:
        raise CommandError(f"{shlex.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def until(ready: Callable[[], object], what: str, within_s: float = _GIVE_UP_S) -> None:
    """Wait until something is so.

    Raises:
        CommandError: It does not come.
    """
    give_up = time.monotonic() + within_s
    while not ready():
        if time.monotonic() > give_up:
            raise CommandError(f"{what} did not come within {within_s} s")
        time.sleep(0.005)


class Kept:
    """A process that ends when its standard input does, thus with whoever started it, however that ends.

    Args:
        command: The program and its arguments; it says a word a line to tell how far it is.
        log: Where what it says besides goes.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command, self._log = command, log
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, env={"PATH": PATH}
            )
        self.pid = self._process.pid

    def expect(self, word: str) -> None:
        """Wait for its next word.

        Raises:
            CommandError: It says another, or ends.
        """
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        if said != word:
            raise CommandError(f"{shlex.join(self._command)}: no {word!r}, but {said!r}: {self._log.read_text()}")

    def end(self) -> None:
        """Let it end, and wait for that."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait(_GIVE_UP_S)
