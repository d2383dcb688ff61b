"""Shares this machine's slots between sweeps that know nothing of each other."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# In the environment of a job: the slot that it holds. A sweep that the job starts has that one more, since the job only
# waits for it; else such a sweep would wait for ever where its own coordinator has the last slot.
LENT = "SWEEPROUTE_SLOT"
# Seconds between two looks at slots that are all taken.
_LOOK_S = 0.1


@dataclass(frozen=True)
class Reservation:
    """Slots of this machine.

    Attributes:
        folder: Holds a lock for each slot; a process that has ended, however it did, holds none.
        slots: How many there are.
    """

    folder: str
    slots: int


@contextmanager
def reserved(reservation: Reservation | None) -> Iterator[None]:
    """Hold a slot, after waiting for one where other sweeps have them all.

    Args:
        reservation: The slots; None asks for none.
    """
    if reservation is None:
        yield
        return
    folder = Path(reservation.folder)
    folder.mkdir(parents=True, exist_ok=True)
    lent = os.environ.get(LENT)
    names = [str(number) for number in range(reservation.slots)] + ([f"{lent}.lent"] if lent else [])
    held = None
    while held is None:
        for name in names:
            # Not inherited: what a job leaves running must not keep its slot.
            descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held, os.environ[LENT] = descriptor, name
                break
            os.close(descriptor)
        else:
            time.sleep(_LOOK_S)
    try:
        yield
    finally:
        os.close(held)
        os.environ.pop(LENT, None)
        if lent:
            os.environ[LENT] = lent
