"""Fills frames with the jobs that are to be sent."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .far.frames import HEADER_LIMIT

# Specs in one frame, and their bytes where there is more than one: a ping waits for a frame on a slow line.
_BATCH = 64
_BATCH_BYTES = 1 << 15
# Bytes of one spec at most: a frame has a few words around it.
_SPEC_LIMIT = HEADER_LIMIT - 1024


def travelling(spec: Mapping[str, Any]) -> int:
    """Bytes that a job's spec takes in a frame."""
    return len(json.dumps(spec, separators=(",", ":")))


def too_large(size: int) -> str | None:
    """Why a spec of this many bytes is not sent; None where it is."""
    if size <= _SPEC_LIMIT:
        return None
    return (
        f"what the job is given takes {size / 1e6:.1f} MB, and {_SPEC_LIMIT / 1e6:.1f} MB are allowed: "
        "put what is large into a file, and give the job its path."
    )


class Batches:
    """Ids of jobs that are to be sent, in order."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._sizes)

    def add(self, identifier: str, size: int) -> None:
        """Have a job sent, whose spec takes this many bytes."""
        self._sizes[identifier] = size

    def drop(self, identifiers: Iterable[str]) -> None:
        """Have jobs not sent."""
        for identifier in identifiers:
            self._sizes.pop(identifier, None)

    def take(self) -> list[str]:
        """The first jobs, as many as one frame is to hold; they are not to be sent any more."""
        batch: list[str] = []
        room = _BATCH_BYTES
        for identifier, size in self._sizes.items():
            room -= size
            if batch and (room < 0 or len(batch) == _BATCH):
                break
            batch.append(identifier)
        self.drop(batch)
        return batch
