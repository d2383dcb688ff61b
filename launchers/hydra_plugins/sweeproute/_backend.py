"""The contract between the dispatcher and the ways of running a job on a platform."""

import queue
from dataclasses import dataclass
from typing import Any, Protocol

from hydra.core.override_parser.types import Override

from ._retry import ErrorClass
from ._worker import Message


@dataclass(frozen=True)
class Finished:
    """An attempt has ended, and its process has answered.

    Attributes:
        platform: Where it ran.
        slot: The slot that is free again.
        answer: What `_worker.run` answered: status, value or error, identity, run_s.
    """

    platform: str
    slot: int
    answer: dict[str, Any]


@dataclass(frozen=True)
class Died:
    """The process of an attempt has gone without an answer.

    Attributes:
        platform: Where it ran.
        slot: The slot that is free again.
        error_class: killed, out_of_memory, time_limit or lost.
        message: What is known of its end.
    """

    platform: str
    slot: int
    error_class: ErrorClass
    message: str


Event = Finished | Died


@dataclass
class Platform:
    """What a backend is told of its platform.

    Attributes:
        name: The platform's key in the registry.
        slots: Jobs that run there at the same time.
        threads: Threads of one job.
        device: cpu or cuda.
        overrides: What the registry sets there where a job left it open.
    """

    name: str
    slots: int
    threads: int | None
    device: str
    overrides: tuple[str, ...] = ()


class Backend(Protocol):
    """One platform's way of running jobs. Nothing here blocks: what happens is put on the queue of events."""

    def start(self, payload: str, base: str, preload: str | None, settled: tuple[Override, ...]) -> None:
        """Make the slots ready.

        Args:
            payload: Path of the pickled `_worker.Payload`.
            base: Path of the base config that is needed first.
            preload: Dotted path of what warms a worker.
            settled: What the platform settles of that config.
        """

    def submit(self, slot: int, message: Message) -> None:
        """Start an attempt in a free slot; its end comes as an event."""

    def cancel(self, slot: int) -> None:
        """End what runs in a slot, at once; no event follows."""

    def memory_free_gb(self) -> float | None:
        """GB of main memory that are free there now; None where it is not known."""

    def close(self, grace_s: float) -> None:
        """Let go of every process, by force after `grace_s` seconds."""


Events = queue.SimpleQueue[Event]
