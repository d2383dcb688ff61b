"""How many jobs may run at once, and a lock for each of them that the job's own process keeps."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path

from .job_folder import write


class Slots:
    """The slots of this machine.

    Args:
        root: The folder in which everything is kept.

    Attributes:
        count: How many there are; one until somebody says otherwise.
        paused: Whether nothing may start.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.count = 1
        self.paused = False

    def open(self) -> None:
        """Read what was said last."""
        try:
            kept = json.loads((self._root / "slots.json").read_text(encoding="utf-8"))
            self.count, self.paused = int(kept["slots"]), bool(kept["paused"])
        except (OSError, ValueError, KeyError, TypeError):
            pass

    def set(self, count: int | None, paused: bool | None) -> None:
        """Change the number, or pause, or go on; None leaves it.

        Raises:
            ValueError: A number below 0.
            OSError: It cannot be kept.
        """
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 0):
            raise ValueError(f"slots is {count!r:.40}, where a number from 0 up is needed")
        self.count = self.count if count is None else count
        self.paused = self.paused if paused is None else bool(paused)
        write(self._root / "slots.json", json.dumps({"slots": self.count, "paused": self.paused}) + "\n")

    def take(self, taken: Iterable[int | None]) -> tuple[int, int] | None:
        """Lock the first free slot.

        Args:
            taken: Numbers of those that are in use.

        Returns:
            Its number, and the descriptor that holds the lock; None where every lock is held.
        """
        used = set(taken)
        for number in range(self.count):
            if number in used:
                continue
            descriptor = os.open(self._root / "slots" / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            return number, descriptor
        return None
