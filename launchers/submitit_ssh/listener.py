"""What a far machine tells of its jobs."""

from dataclasses import dataclass
from typing import Any, Protocol

from .line import Condition


@dataclass(frozen=True)
class Ended:
    """How an attempt at a job ended on a far machine.

    Attributes:
        id: The job's id there.
        error_class: None where its process ended by itself and left a result; else killed, out_of_memory, time_limit,
            cancelled, precheck, lost.
        message: What is known of such an end.
        result: What the entry's `run` returned, as data.
        run_s: Seconds that it ran, by the far machine's monotonic clock.
        started, ended: Seconds since the epoch, by this machine's clock.
        left_out: Outputs that are not here because this side does not take their names, a clause each.
    """

    id: str
    error_class: str | None
    message: str
    result: Any
    run_s: float
    started: float
    ended: float
    left_out: tuple[str, ...] = ()


class Listener(Protocol):
    """Who is told; called in the machine's thread, and may not block."""

    def condition(self, condition: Condition, why: str) -> None:
        """The machine's condition has changed; `why` is a clause that follows its name."""

    def started(self, identifier: str, at: float) -> None:
        """A job has started, at seconds since the epoch by this machine's clock."""

    def ended(self, ended: Ended) -> None:
        """A job has ended, and its outputs are complete here; said again after a reconnection until it is settled."""

    def unknown(self, identifier: str) -> None:
        """The far machine does not know a job that was taken for one of its."""
