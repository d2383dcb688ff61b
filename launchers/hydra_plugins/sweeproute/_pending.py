"""Keeps what a far machine has yet to be told: a cancel that could not be delivered."""

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from submitit_ssh.machine import Machine

from ._records import append_line, read_lines, state_dir


class PendingCancels:
    """The jobs that are to end on one machine, and may not know it yet.

    Args:
        platform: Its name.
        host: What ssh is given.
    """

    def __init__(self, platform: str, host: str) -> None:
        self._host = host
        self._path: Path = state_dir() / "cancels" / f"{platform}.jsonl"

    def keep(self, identifiers: Sequence[str]) -> None:
        """Note jobs that could not be cancelled now."""
        if identifiers:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            append_line(self._path, {"host": self._host, "ids": list(identifiers)})

    def deliver(self, machine: Machine) -> None:
        """Cancel at the next contact what earlier sweeps could not."""
        identifiers = [
            one for line in read_lines(self._path) if line.get("host") == self._host for one in line.get("ids", ())
        ]
        if identifiers:
            machine.settle(identifiers).add_done_callback(self._delivered)

    def _delivered(self, future: "Future[dict[str, Any]]") -> None:
        if not future.cancelled() and future.exception() is None:
            self._path.unlink(missing_ok=True)
