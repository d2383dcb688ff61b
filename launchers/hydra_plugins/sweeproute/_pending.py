"""Keeps what a far machine has yet to be told: a cancel that could not be delivered."""

import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from submitit_ssh.machine import Machine

from ._records import read_json, state_dir, write_json


class PendingCancels:
    """The jobs that are to end on one machine, and may not know it yet.

    Args:
        platform: Its name.
        host: What ssh is given.
    """

    def __init__(self, platform: str, host: str) -> None:
        self._host = host
        self._folder: Path = state_dir() / "cancels" / platform

    def keep(self, identifiers: Sequence[str]) -> None:
        """Note jobs that could not be cancelled now."""
        if identifiers:
            self._folder.mkdir(parents=True, exist_ok=True)
            # A file each: what is added while another is being delivered is not lost with it.
            write_json(self._folder / f"{uuid.uuid4().hex}.json", {"host": self._host, "ids": list(identifiers)})

    def kept(self) -> list[str]:
        """The jobs that are to end."""
        return [identifier for _, identifiers in self._read() for identifier in identifiers]

    def deliver(self, machine: Machine) -> None:
        """Cancel at the next contact what could not be cancelled before."""
        found = self._read()
        if found:
            told = machine.settle([identifier for _, identifiers in found for identifier in identifiers])
            told.add_done_callback(lambda future: self._delivered(future, [path for path, _ in found]))

    def _read(self) -> list[tuple[Path, list[str]]]:
        found = []
        for path in sorted(self._folder.glob("*.json")):
            entry = read_json(path) or {}
            if entry.get("host") == self._host:
                found.append((path, [str(one) for one in entry.get("ids", ())]))
        return found

    def _delivered(self, future: "Future[dict[str, Any]]", paths: Sequence[Path]) -> None:
        if not future.cancelled() and future.exception() is None:
            for path in paths:
                path.unlink(missing_ok=True)
