"""How many jobs may run at once, and a lock for each of them that the job's own process keeps."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from .job_folder import write


class Slots:
    """The slots of this machine.

    Args:
        root: The folder in which everything is kept.

    Attributes:
        count: How many there are; one until somebody says otherwise.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.count = 1
        self._paused = False
        # When a pause ends by itself, in seconds since the epoch.
        self._until: float | None = None

    @property
    def paused(self) -> bool:
        """Whether nothing may start."""
        return self._paused and (self._until is None or time.time() < self._until)

    def open(self) -> None:
        """Read what was said last."""
        try:
            kept = json.loads((self._root / "slots.json").read_text(encoding="utf-8"))
            self.count, self._paused = int(kept["slots"]), bool(kept["paused"])
            self._until = None if kept.get("until") is None else float(kept["until"])
        except (OSError, ValueError, KeyError, TypeError):
            pass

    def set(self, count: int | None, paused: bool | None, for_s: float | None = None) -> None:
        """Change the number, or pause, or go on.

        Args:
            count: The number; None leaves it.
            paused: Whether nothing may start; None leaves it.
            for_s: Seconds after which a pause ends by itself; None for never.

        Raises:
            ValueError: A number below 0.
            OSError: It cannot be kept.
        """
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 0):
            raise ValueError(f"slots is {count!r:.40}, where a number from 0 up is needed")
        if for_s is not None and (isinstance(for_s, bool) or not isinstance(for_s, (int, float)) or not for_s > 0):
            raise ValueError(f"for_s is {for_s!r:.40}, where a number above 0 is needed")
        self.count = self.count if count is None else count
        if paused is not None:
            self._paused, self._until = bool(paused), None if for_s is None else time.time() + for_s
        kept = {"slots": self.count, "paused": self._paused, "until": self._until}
        write(self._root / "slots.json", json.dumps(kept) + "\n")

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
